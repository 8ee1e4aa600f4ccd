"""The kernels of a run: a fresh one for each notebook, started while those before it still run."""

from __future__ import annotations

import ast
import asyncio
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty
from tempfile import TemporaryDirectory

from jupyter_client.asynchronous import AsyncKernelClient
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync
from zmq.asyncio import Context

# Nobody's history is written to, and what a kernel that is interrupted at its end logs is no news.
OPTIONS = ["--IPKernelApp.log_level=50", "--HistoryManager.hist_file=:memory:"]


class Client(AsyncKernelClient):
    """A kernel's client that is ready as soon as the kernel is."""

    ready = False

    async def wait_for_ready(self, timeout: float = 60) -> None:
        """Wait until the kernel answers and its outputs arrive; not for silence, as others do."""
        from nbclient.exceptions import DeadKernelError

        tries = 0
        while tries < timeout and await self.is_alive():
            self.kernel_info()
            tries += 1
            with suppress(Empty):
                self._handle_kernel_info_reply(await self.get_shell_msg(timeout=1))
                await self.get_iopub_msg(timeout=0.2)
                self.ready = True
                return
        raise DeadKernelError(f"The kernel ended, or did not answer in {timeout:.0f} seconds")


class Kernel(AsyncKernelManager):
    """A kernel reached by sockets in a private folder, and ended from outside.

    Five TCP ports for each kernel would be chosen here and opened by it half a second later, when
    another program may have taken one. And a kernel asked to shut down by itself aborts now and
    then (ipykernel 7.4): its main thread closes sockets that its other threads still send on.
    """

    def __init__(self, **kwargs):
        transport = "tcp" if os.name == "nt" else "ipc"
        # A context of its own would be ended with the kernel, and waits for ever for a socket that
        # was being made when Ctrl-C came.
        shared = Context.instance()
        super().__init__(transport=transport, context=shared, client_factory=Client, **kwargs)
        self.clients = []

    def client(self, **kwargs) -> Client:
        """Return a new client, which is closed with the kernel."""
        self.clients.append(super().client(context=self.context, **kwargs))
        return self.clients[-1]

    async def shutdown_kernel(self, now: bool = False, restart: bool = False) -> None:
        """Interrupt what runs, wait until that has unwound (at most `shutdown_wait_time` seconds),
        and kill; `now`: without waiting."""
        waiting = asyncio.all_tasks() - {asyncio.current_task()}  # for an interrupted cell's answer
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        if self.has_kernel and not now and any(client.ready for client in self.clients):
            await self.interrupt_kernel()
            client = self.client()
            client.start_channels(hb=False)
            with suppress(TimeoutError):
                await client.kernel_info(reply=True, timeout=self.shutdown_wait_time)
        while self.clients:
            self.clients.pop().stop_channels()
        await self._async_kill_kernel()  # before the other would interrupt it, which it may print
        await super().shutdown_kernel(now=True, restart=restart)

    async def _async_wait(self, pollinterval: float = 0.01) -> None:
        await super()._async_wait(pollinterval)


class Kernels:
    """The kernels of notebooks that run one after another; none is left when the context ends.

    While a notebook runs, the next one's kernel starts and imports what that notebook will.
    """

    def __init__(self, notebooks: Iterable[Path], folder: Path, also: str):
        """`folder`: where the notebooks run; `also`: import statements for all of them."""
        self.notebooks, self.folder, self.also = iter(notebooks), folder, also
        self.started: list[Kernel] = []

    def __enter__(self) -> Kernels:
        self.sockets = TemporaryDirectory(prefix="kernel-")
        return self

    def __exit__(self, *_) -> None:
        for kernel in self.started:
            if kernel.has_kernel:
                run_sync(kernel.shutdown_kernel)()
        self.sockets.cleanup()

    def start(self) -> None:
        """Let the next notebook's kernel start, when there is one more."""
        if notebook := next(self.notebooks, None):
            about = json.loads(notebook.read_text(encoding="utf-8"))
            file = f"{self.sockets.name}/{notebook.stem}.json"
            name = about["metadata"].get("kernelspec", {}).get("name", "python3")
            kernel = Kernel(kernel_name=name, connection_file=file)
            self.started.append(kernel)
            warm = f"--IPKernelApp.exec_lines=exec({imports(about) + self.also!r}, {{}})"
            run_sync(kernel.start_kernel)(cwd=str(self.folder), extra_arguments=[*OPTIONS, warm])

    @contextmanager
    def next(self) -> Iterator[Kernel]:
        """Give the kernel that was started last, let one more start, and end it afterwards."""
        kernel = self.started[-1]
        self.start()
        try:
            yield kernel
        finally:
            run_sync(kernel.shutdown_kernel)()


def imports(notebook: dict) -> str:
    """Return the import statements in a notebook's cells, a line each."""
    found = ""
    for cell in notebook["cells"]:
        with suppress(SyntaxError):  # %%sql
            tree = ast.parse("".join(cell["source"]) if cell["cell_type"] == "code" else "")
            kinds = ast.Import | ast.ImportFrom
            found += "".join(f"{ast.unparse(n)}\n" for n in ast.walk(tree) if isinstance(n, kinds))
    return found
