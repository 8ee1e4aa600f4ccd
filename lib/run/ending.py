"""How a run ends: what stops it, the exit code, and what is said of it."""

from __future__ import annotations

import errno
import signal
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lib import UserError, config
from lib.run.terminal import OutputClosed

WORDS = {"SIGINT": "Interrupted.", "SIGTERM": "Terminated.", "SIGHUP": "The terminal was closed."}
SIGNALS = {getattr(signal, name): words for name, words in WORDS.items() if hasattr(signal, name)}
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}


class Stopped(SystemExit):
    """A signal that ends the run: an exit with 128 and its number, which event loops let pass."""

    def __init__(self, number: int):
        super().__init__(128 + number)
        self.words = SIGNALS[number]

    def __str__(self) -> str:
        return self.words


def stop(number: int, _) -> None:
    """End the run in an orderly way (a signal's handler)."""
    raise Stopped(number)


def ignore(*_) -> None:
    """Go on, since the run is ending already (a signal's handler)."""


@contextmanager
def handle_signals(handler: Callable) -> Iterator[None]:
    """Let a handler meet the signals that end a run, but for those that nohup or a shell ignores;
    afterwards the former ones do again."""
    former = {number: signal.getsignal(number) for number in SIGNALS}
    former = {n: before for n, before in former.items() if before not in (signal.SIG_IGN, None)}
    for number in former:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, before in former.items():
            signal.signal(number, before)


def explain_end(error: BaseException, folder: Path | None) -> tuple[int, str]:
    """Return the exit code for what ended a run, and what to say of it.

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
    return 1, f"Unexpectedly, {type(error).__name__}: {error}{save_traceback(error, folder)}"


def save_traceback(error: BaseException, folder: Path | None) -> str:
    """Write where an unexpected error came from to a file, and return the words that name it."""
    text = "".join(traceback.format_exception(error))
    for place in (folder, None):  # None: the folder for temporary files
        try:
            number, name = tempfile.mkstemp(".txt", "traceback-", place)
            with open(number, "w", encoding="utf-8", errors="replace") as file:
                file.write(text)
            return f"\nDetails are in {name}; please report them."
        except OSError:
            continue
    return ""


def describe_possible(settings: config.Settings, price: str) -> str:
    """Say what may be running in AWS without asking it; '' where nothing of ours can be.

    `price`: as a plan has shown it; empty: the bundled one.
    """
    if settings.dwh.target != "redshift" or settings.db.host:
        return ""
    from lib.provision.cluster import PRICES
    from lib.provision.resources import remove_command

    wanted = settings.cluster
    hour = PRICES["usd_per_node_hour"].get(wanted.node_type, 0) * wanted.num_nodes
    price = price or (f"${hour:.2f} an hour" if hour else "an unknown price")
    return (
        f"The cluster {wanted.identifier} may still be running in {settings.aws.region} at {price} "
        f"until it is removed: {remove_command(settings)}"
    )


def describe_running(settings: config.Settings, possible: str) -> str:
    """Say what is still running in AWS, what it costs, and how to remove it; '' when nothing is.

    `possible`: what is said when AWS can't be asked, or asking it is interrupted; '': never ask.
    """
    if not possible:
        return ""
    from lib.provision import cluster

    try:
        with handle_signals(stop):
            return cluster.running(settings)
    except BaseException as error:  # noqa: BLE001 - a second Ctrl-C, too
        reason = str(error) if isinstance(error, UserError | Stopped) else type(error).__name__
        return f"What is still running could not be asked: {reason}\n{possible}"
