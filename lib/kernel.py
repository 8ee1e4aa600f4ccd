"""The kernels of a run: a fresh one for each notebook, started while those before it still run."""

from __future__ import annotations

import ast
import json
import os
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty
from tempfile import TemporaryDirectory

from jupyter_client.asynchronous import AsyncKernelClient
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync

AHEAD = 2  # kernels that wait while one runs: short notebooks are over before the next has started
# Nobody's history is written to, and what a kernel that is interrupted at its end logs is no news.
OPTIONS = ["--IPKernelApp.log_level=50", "--HistoryManager.hist_file=:memory:"]


class Client(AsyncKernelClient):
    """A kernel's client that is ready as soon as the kernel is."""

    async def wait_for_ready(self, timeout: float = 60) -> None:
        """Wait until the kernel answers and its outputs arrive; not for silence, as others do."""
        tries = 0
        while tries < timeout and await self.is_alive():
            self.kernel_info()
            tries += 1
            with suppress(Empty):
                self._handle_kernel_info_reply(await self.get_shell_msg(timeout=1))
                await self.get_iopub_msg(timeout=0.2)
                return
        raise RuntimeError(f"The kernel ended, or did not answer for {tries} seconds")


class Kernel(AsyncKernelManager):
    """A kernel reached by sockets in a private folder, and ended from outside.

    Five TCP ports for each kernel would be chosen here and opened by it half a second later, when
    another program may have taken one. And a kernel asked to shut down by itself aborts now and
    then (ipykernel 7.4): its main thread closes sockets that its other threads still send on.
    """

    def __init__(self, **kwargs):
        kwargs.setdefault("transport", "tcp" if os.name == "nt" else "ipc")
        super().__init__(**kwargs)
        self.clients = []

    def client(self, **kwargs) -> Client:
        """Return a new client, which is closed with the kernel."""
        self.clients.append(super().client(**kwargs))
        return self.clients[-1]

    def _client_factory_default(self) -> type:
        return Client

    async def shutdown_kernel(self, now: bool = False, restart: bool = False) -> None:
        """Interrupt what runs, wait until that has unwound (at most `shutdown_wait_time` seconds),
        and kill; `now`: without waiting."""
        if self.has_kernel and not now:
            await self.interrupt_kernel()
            client = self.client()
            client.start_channels(hb=False)
            with suppress(TimeoutError):
                await client.kernel_info(reply=True, timeout=self.shutdown_wait_time)
        while self.clients:
            self.clients.pop().stop_channels()
        await super().shutdown_kernel(now=True, restart=restart)

    async def _async_wait(self, pollinterval: float = 0.01) -> None:
        await super()._async_wait(pollinterval)


class Kernels:
    """The kernels of notebooks that run one after another; none is left when the context ends.

    Those that wait import what their notebooks will, and `also`: import statements.
    """

    def __init__(self, notebooks: Iterable[Path], folder: Path, also: str = ""):
        self.pending = iter(notebooks)
        self.folder, self.also = folder, also
        self.started: list[Kernel] = []
        self.waiting: deque[Kernel] = deque()

    def __enter__(self) -> Kernels:
        self.sockets = TemporaryDirectory(prefix="kernel-")
        try:
            self._start(1 + AHEAD)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        for kernel in filter(lambda one: one.has_kernel, self.started):
            run_sync(kernel.shutdown_kernel)(now=True)
        self.sockets.cleanup()

    @contextmanager
    def next(self) -> Iterator[Kernel]:
        """Give the next notebook's kernel, and end it afterwards; let one more start."""
        kernel = self.waiting.popleft()
        self._start(1)
        try:
            yield kernel
        finally:
            run_sync(kernel.shutdown_kernel)()

    def _start(self, count: int) -> None:
        for notebook in [path for _, path in zip(range(count), self.pending, strict=False)]:
            about = json.loads(notebook.read_text(encoding="utf-8"))
            warm = f"exec({imports(about) + self.also!r}, {{}})"
            kernel = Kernel(
                kernel_name=about["metadata"]["kernelspec"]["name"],
                connection_file=f"{self.sockets.name}/{notebook.stem}.json",
            )
            self.started.append(kernel)
            options = [*OPTIONS, f"--IPKernelApp.exec_lines={warm}"]
            run_sync(kernel.start_kernel)(cwd=str(self.folder), extra_arguments=options)
            self.waiting.append(kernel)


def imports(notebook: dict) -> str:
    """Return the import statements in a notebook's cells, a line each."""
    found = ""
    for cell in notebook["cells"]:
        with suppress(SyntaxError):  # %%sql
            tree = ast.parse("".join(cell["source"]) if cell["cell_type"] == "code" else "")
            kinds = ast.Import | ast.ImportFrom
            found += "".join(f"{ast.unparse(n)}\n" for n in ast.walk(tree) if isinstance(n, kinds))
    return found
