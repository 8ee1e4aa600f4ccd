"""The kernel that runs a notebook headless: how it is reached, and how it ends."""

from __future__ import annotations

import os
from contextlib import suppress

from jupyter_client.manager import AsyncKernelManager


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
