"""Print to a terminal, a pipe or a file, which may be closed or lack characters."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from lib import UserError, escape_text


class OutputClosed(UserError):
    """Standard output or error that can't be written any more."""


def prepare_streams() -> None:
    """Print "?" for characters that an encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):  # a notebook's, or a test's
            stream.reconfigure(errors="replace")


def show(text: object, to=None, end: str = "\n", before: str = "") -> None:
    """Print a string with its control characters escaped; `before` is printed as it is.

    Raises OutputClosed when nobody can read it: `| head` has ended, or the disk is full.
    """
    stream = to or sys.stdout
    try:
        print(f"{before}{escape_text(str(text))}", end=end, file=stream, flush=True)
    except (OSError, ValueError) as error:
        with suppress(OSError, ValueError):  # or Python would complain of the stream at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        reason = getattr(error, "strerror", None) or error
        raise OutputClosed(f"The output can't be written any more: {reason}.") from None


class Progress:
    """Shows the step of the running notebook: in place on a terminal, else one line per step."""

    def __init__(self, name: str):
        self.name, self.heading = name, ""
        self._clear, self._end = ("\r\033[K", "") if sys.stdout.isatty() else ("", "\n")

    def show_step(self, cell, **_) -> None:
        """Show and remember the heading of a cell that is about to run (a hook of nbclient)."""
        headings = [line for line in cell.source.splitlines() if line.startswith("#")]
        if cell.cell_type == "markdown" and headings:
            self.heading = headings[0].lstrip("# ")
            line = f"{self.name:<14}{self.heading}"[:78] + " …"
            show(line, end=self._end, before=self._clear)

    def show_end(self, status: str, seconds: float) -> None:
        """Show how the notebook ended."""
        show(f"{self.name:<14}{status} in {seconds:.1f} s", before=self._clear)
