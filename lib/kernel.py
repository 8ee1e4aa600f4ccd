"""How a notebook runs headless: how its kernel is reached and ends, and when it is saved."""

from __future__ import annotations

import os
import time
from contextlib import suppress

from jupyter_client.manager import AsyncKernelManager
from papermill.engines import NBClientEngine, papermill_engines

PAUSE = 1.0  # seconds between two saves of a running notebook


class Kernel(AsyncKernelManager):
    """A kernel reached by sockets in a private folder, and ended from outside.

    Five TCP ports for each kernel would be chosen here and opened by it half a second later, when
    another program may have taken one. And a kernel asked to shut down by itself aborts now and
    then (ipykernel 7.4): its main thread closes sockets that its other threads still send on.
    """

    def __init__(self, **kwargs):
        kwargs.setdefault("transport", "tcp" if os.name == "nt" else "ipc")
        super().__init__(**kwargs)

    async def shutdown_kernel(self, now: bool = False, restart: bool = False) -> None:
        """Interrupt what runs, wait until that has unwound (at most `shutdown_wait_time` seconds),
        and kill."""
        await self.interrupt_kernel()
        client = self.client()
        client.start_channels(hb=False)
        with suppress(TimeoutError):
            await client.kernel_info(reply=True, timeout=self.shutdown_wait_time)
        client.stop_channels()
        await super().shutdown_kernel(now=True, restart=restart)


class Engine(NBClientEngine):
    """Papermill's own engine, which would write the whole notebook twice for every cell."""

    @classmethod
    def execute_managed_notebook(cls, nb_man, *arguments, **named) -> None:
        """Run every cell; the notebook is saved now and then, and by papermill at its end."""
        save, saved = nb_man.save, time.monotonic()

        def save_seldom(**about) -> None:
            nonlocal saved
            if time.monotonic() - saved > PAUSE:
                save(**about)
                saved = time.monotonic()

        nb_man.save = save_seldom
        try:
            super().execute_managed_notebook(nb_man, *arguments, **named)
        finally:
            nb_man.save = save


papermill_engines.register(Engine.__module__, Engine)
