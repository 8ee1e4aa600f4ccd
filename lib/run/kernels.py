"""Kernels started ahead and fewer saves: five notebooks in half of plain papermill's time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from queue import Empty
from subprocess import DEVNULL
from uuid import uuid4

from jupyter_client import AsyncKernelClient, KernelManager
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_core.utils import run_sync
from nbclient.exceptions import DeadKernelError
from papermill.engines import NBClientEngine, papermill_engines
from zmq.asyncio import Context

TABLES = "duckdb, pandas, sqlalchemy"  # what takes a while to import, for each notebook
IMPORTS = {"02_schema": TABLES, "03_load": TABLES, "04_analyse": f"{TABLES}, matplotlib.pyplot"}
OPTIONS = ("--IPKernelApp.log_level=50", "--HistoryManager.hist_file=:memory:")  # no traces


class Engine(NBClientEngine):
    """Papermill's own engine, saving a notebook when it begins and when it ends, however that is.
    Papermill saves it twice for every cell: 1.3 s a run. Superfluous when it takes an interval."""

    @classmethod
    def execute_managed_notebook(cls, nb_man, *arguments, **named) -> None:
        """Run every cell, without a path to save to."""
        path, nb_man.output_path = nb_man.output_path, None
        try:
            super().execute_managed_notebook(nb_man, *arguments, **named)
        finally:
            nb_man.output_path = path


papermill_engines.register(__name__, Engine)
logging.getLogger("papermill").disabled = True  # what it logs of an error, the error says


class Client(AsyncKernelClient):
    """A client that is ready when its kernel is. Upstream's waits for 0.2 s of silence after that:
    1 s a run. Superfluous when it no longer does."""

    def _context_default(self) -> Context:
        return Context.instance()  # one of its own could wait for ever when it is closed

    async def wait_for_ready(self, timeout: float = 60) -> None:
        """Wait until the kernel answers and its outputs arrive; raise DeadKernelError if not."""
        while (timeout := timeout - 1) >= 0 and await self.is_alive():
            self.kernel_info()
            with suppress(Empty):
                self._handle_kernel_info_reply(await self.get_shell_msg(timeout=1))
                await self.get_iopub_msg(timeout=0.2)
                return
        raise DeadKernelError("The kernel ended, or did not answer in time")


def iterate_kernels(notebooks: Sequence[str], **place) -> Iterator[KernelManager]:
    """Yield a fresh kernel for each of the notebooks. `place`: its cwd and env, as of Popen.

    While one is used the next starts and imports: 4 s a run, superfluous when that takes none. One
    whose port was taken (1 in 300) is started again. One asked to end may abort: it is killed.
    """
    started: list[KernelManager] = []
    try:
        ahead = start_kernel(notebooks[0], place, started)
        for name, following in zip(notebooks, (*notebooks[1:], None), strict=True):
            kernel, ahead = ahead, following and start_kernel(following, place, started)
            if not wait_for_kernel(kernel):
                kernel = start_kernel(name, place, started)
            yield kernel
            kernel.shutdown_kernel(now=True)
    finally:
        run_sync(_cancel_tasks)()
        for kernel in started:
            if kernel.has_kernel:
                kernel.shutdown_kernel(now=True)


def start_kernel(notebook: str, place: dict, started: list[KernelManager]) -> KernelManager:
    """Start a kernel of this interpreter, whatever kernelspecs there are; note it in `started`."""
    own = {"kernel_spec_manager": KernelSpecManager(kernel_dirs=[]), "client_factory": Client}
    kernel = KernelManager(transport_encryption="auto", **own)
    started.append(kernel)
    imports = f"import {IMPORTS.get(notebook, 'duckdb')}"
    options = [*OPTIONS, f"--IPKernelApp.exec_lines=exec({imports!r}, {{}})"]
    kernel.start_kernel(extra_arguments=options, stdout=DEVNULL, stderr=DEVNULL, **place)
    return kernel


def wait_for_kernel(kernel: KernelManager, timeout: float = 60) -> bool:
    """Wait until a kernel has nothing else to do than to answer; tell whether it has answered."""
    client = kernel.client()
    client.session.session = uuid4().hex  # or its messages would have the ids of another client's
    client.start_channels(hb=False)
    try:
        run_sync(client.wait_for_ready)(timeout)
        return True
    except DeadKernelError:
        return False
    finally:
        client.stop_channels()


def unwind_kernel(kernel: KernelManager, timeout: float = 5) -> None:
    """Interrupt the cell that runs, and wait until it has rolled back."""
    run_sync(_cancel_tasks)()
    kernel.interrupt_kernel()
    wait_for_kernel(kernel, timeout)


async def _cancel_tasks() -> None:
    """End what waits for an interrupted cell, of which Python would complain at its end."""
    waiting = asyncio.all_tasks() - {asyncio.current_task()}
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
