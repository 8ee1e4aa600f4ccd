"""What makes five notebooks run twice as fast as by plain papermill: kernels started ahead, fewer
saves. Each part says what it saves, and what would make it superfluous."""

from __future__ import annotations

import asyncio
import logging
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path
from queue import Empty
from uuid import uuid4

from jupyter_client import AsyncKernelClient, KernelManager
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_core.utils import run_sync
from nbclient.exceptions import DeadKernelError
from papermill.engines import NBClientEngine, papermill_engines
from zmq.asyncio import Context

ENGINE = "sparkify"
# What a notebook imports that takes a while, so that its kernel has it before it begins.
TABLES = "duckdb, pandas, sqlalchemy"
IMPORTS = {"02_schema": TABLES, "03_load": TABLES, "04_analyse": f"{TABLES}, matplotlib.pyplot"}
# Nobody's history is written to, and what a kernel logs when it is interrupted is no news.
OPTIONS = ("--IPKernelApp.log_level=50", "--HistoryManager.hist_file=:memory:")
PATIENCE = 5.0  # seconds that an interrupted cell may take to roll back


class Engine(NBClientEngine):
    """Papermill's own engine, saving a notebook when it begins and when it ends, however that is.
    Papermill saves it twice for every cell: 1.3 s a run. Superfluous when it takes an interval."""

    @classmethod
    def execute_managed_notebook(cls, nb_man, *arguments, **named) -> None:
        """Run every cell; papermill saves the notebook before and after, and not without a path."""
        path, nb_man.output_path = nb_man.output_path, None
        try:
            super().execute_managed_notebook(nb_man, *arguments, **named)
        finally:
            nb_man.output_path = path


papermill_engines.register(ENGINE, Engine)
logging.getLogger("papermill").disabled = True  # what it logs of an error, the error says


class Client(AsyncKernelClient):
    """A client that is ready as soon as its kernel is. The library's own waits for 0.2 s of silence
    after that: 1 s a run. Superfluous when it no longer does."""

    def _context_default(self) -> Context:
        return Context.instance()  # one of its own could wait for ever when it is closed

    async def wait_for_ready(self, timeout: float = 60) -> None:
        """Wait until the kernel answers and its outputs arrive; raise DeadKernelError if not."""
        for _ in range(round(timeout)):
            if not await self.is_alive():
                break
            self.kernel_info()
            with suppress(Empty):
                self._handle_kernel_info_reply(await self.get_shell_msg(timeout=1))
                await self.get_iopub_msg(timeout=0.2)
                return
        raise DeadKernelError("The kernel ended, or did not answer in time")


def iterate_kernels(notebooks: Sequence[str], folder: Path) -> Iterator[KernelManager]:
    """Yield a fresh kernel for each of the notebooks, which work in `folder`.

    While one is in use the next one starts and imports what its notebook will: 4 s a run.
    Superfluous when both take no second. A port may be taken between its choice and its use (one
    start in 300): a kernel that does not come up is started once more. None is left when the
    iterator is closed; each is killed, since one that is asked to end may abort (ipykernel 7.4).
    """
    started: list[KernelManager] = []
    try:
        ahead = start_kernel(notebooks[0], folder, started)
        for name, following in zip_longest(notebooks, notebooks[1:]):
            kernel, ahead = ahead, following and start_kernel(following, folder, started)
            if not wait_for_kernel(kernel):
                kernel = start_kernel(name, folder, started)
            yield kernel
            kernel.shutdown_kernel(now=True)
    finally:
        run_sync(_cancel_tasks)()
        for kernel in started:
            if kernel.has_kernel:
                kernel.shutdown_kernel(now=True)


def start_kernel(notebook: str, folder: Path, started: list[KernelManager]) -> KernelManager:
    """Start a kernel, noted in `started` before it is; what it says by itself goes nowhere."""
    # No folder is searched for a kernelspec, where a user's own may name another interpreter.
    own = {"kernel_spec_manager": KernelSpecManager(kernel_dirs=[]), "client_factory": Client}
    kernel = KernelManager(transport_encryption="auto", **own)
    started.append(kernel)
    imports = f"import {IMPORTS.get(notebook, 'duckdb')}"
    warm = f"--IPKernelApp.exec_lines=exec({imports!r}, {{}})"
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    kernel.start_kernel(cwd=str(folder), extra_arguments=[*OPTIONS, warm], **silent)
    return kernel


def wait_for_kernel(kernel: KernelManager, timeout: float = 60) -> bool:
    """Wait until a kernel has nothing else to do than to answer; tell whether it has answered."""
    client = kernel.client()
    client.session.session = uuid4().hex  # or its messages would have the ids of another client's
    client.start_channels(hb=False)
    try:
        run_sync(client.wait_for_ready)(timeout)
    except DeadKernelError:
        return False
    finally:
        client.stop_channels()
    return True


def unwind_kernel(kernel: KernelManager) -> None:
    """Interrupt the cell that runs, and wait until it has rolled back."""
    run_sync(_cancel_tasks)()
    if kernel.is_alive():
        kernel.interrupt_kernel()
        wait_for_kernel(kernel, PATIENCE)


async def _cancel_tasks() -> None:
    """End what waits for an interrupted cell, of which Python would complain at its end."""
    waiting = asyncio.all_tasks() - {asyncio.current_task()}
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
