"""How a run ends: signals, exit code and last words."""

from __future__ import annotations

import errno
import os
import signal
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Timer

from lib import UserError, config
from lib.run.terminal import OutputClosed

WORDS = {"SIGINT": "Interrupted.", "SIGTERM": "Terminated.", "SIGHUP": "The terminal was closed."}
SIGNALS = {getattr(signal, name): words for name, words in WORDS.items() if hasattr(signal, name)}
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}


class Stopped(SystemExit):
    """A signal that ends the run, with exit code 128 + its number; event loops let it pass."""

    def __str__(self) -> str:
        return SIGNALS[self.code - 128]


@contextmanager
def handle_signals(are_ignored: bool = False) -> Iterator[None]:
    """Raise Stopped on the signals that end a run, or ignore them; restore the handlers afterwards.

    Signals that nohup or a shell has set to be ignored stay ignored.
    """

    def handle(number: int, frame) -> None:
        if any(of.f_code.co_name == "__del__" for of, _ in traceback.walk_stack(frame)):
            Timer(0.1, os.kill, (os.getpid(), number)).start()  # Python drops what is raised there
        elif not are_ignored:
            raise Stopped(128 + number)

    former = {number: signal.getsignal(number) for number in SIGNALS}
    former = {n: before for n, before in former.items() if before not in (signal.SIG_IGN, None)}
    for number in former:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, before in former.items():
            signal.signal(number, before)


def explain_end(error: BaseException, folder: Path | None) -> tuple[int, str]:
    """Return the exit code for the exception that ended a run, and the sentence to print.

    `folder`: the run's; None before there is one.
    """
    if isinstance(error, SystemExit):
        return error.code or 0, str(error) if isinstance(error, Stopped) else ""
    code = 1 if folder or isinstance(error, OutputClosed) else 2
    if isinstance(error, UserError):
        return code, str(error)
    if isinstance(error, FileNotFoundError) or getattr(error, "errno", None) in FULL:
        place, reason = error.filename or folder or "A file", error.strerror or error
        return code, f"{place} can't be written: {reason}; name another folder, or make room there."
    return 1, f"Unexpected error: {type(error).__name__}: {error}{save_traceback(error, folder)}"


def save_traceback(error: BaseException, folder: Path | None) -> str:
    """Write the traceback to a file in `folder` (None: the folder for temporary files), and return
    a sentence that names the file."""
    with suppress(OSError):
        number, name = tempfile.mkstemp(".txt", "traceback-", folder)
        with open(number, "w", encoding="utf-8", errors="replace") as file:
            file.writelines(traceback.format_exception(error))
        return f"\nDetails are in {name}; please report them."
    return ""


def describe_possible(settings: config.Settings, price: str) -> str:
    """Return a sentence on what may be running in AWS, without asking AWS; '' if nothing can be.

    `price`: the one that the plan showed; empty: from the bundled price list.
    """
    if settings.dwh.target != "redshift" or settings.db.host:
        return ""
    from lib.aws.access import remove_command
    from lib.provision.price import PRICES

    wanted = settings.cluster
    hour = PRICES["usd_per_node_hour"].get(wanted.node_type, 0) * wanted.num_nodes
    price = price or (f"${hour:.2f} an hour" if hour else "an unknown price")
    return (
        f"The cluster {wanted.identifier} may still be running in {settings.aws.region} at {price} "
        f"until it is removed: {remove_command(settings)}"
    )


def describe_running(settings: config.Settings, possible: str) -> str:
    """Ask AWS what is still running; return what it costs and how to remove it, or '' for nothing.

    `possible`: what to return when AWS can't be asked, or asking it is interrupted.
    """
    from lib.provision import redshift

    try:
        with handle_signals():
            return redshift.describe_running(settings)
    except BaseException as error:  # noqa: BLE001 - a second Ctrl-C, too
        reason = str(error) if isinstance(error, UserError | Stopped) else type(error).__name__
        return f"AWS could not be asked what is still running: {reason}\n{possible}"
