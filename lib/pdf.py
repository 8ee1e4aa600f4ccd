"""A run's report as a PDF, printed by the Chromium that is installed: `python -m lib.pdf FOLDER`.

Exit code 0 when the PDF is there, else 2 and one sentence.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from lib import UserError

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PATIENCE = 120  # seconds


class PdfError(UserError):
    """A report that can't be printed."""


def chromium() -> str | None:
    """Return the path of the Chromium or Chrome that is installed, None when there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def options() -> list[str]:
    """Return what Chromium must be told here: to root it refuses its sandbox."""
    return ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []


def write(report: Path, to: Path) -> Path:
    """Print a report as a PDF, whole or not at all.

    Raises PdfError when there is no report or no Chromium, and when Chromium fails.
    """
    if not report.is_file():
        raise PdfError(
            f"There is no {report}; make run makes one, or name a run's folder with RUN=."
        )
    if not (browser := chromium()):
        raise PdfError(
            f"No Chromium or Chrome is installed here to print {report}; install one, or open the "
            "report in any browser and print it from there."
        )
    with TemporaryDirectory(prefix="print-") as folder:
        page, own = Path(folder) / "report.pdf", f"--user-data-dir={folder}/profile"
        quiet = ["--headless", "--disable-gpu", "--no-pdf-header-footer", own]
        command = [browser, *quiet, *options(), f"--print-to-pdf={page}", report.resolve().as_uri()]
        try:
            done = subprocess.run(  # noqa: S603 a browser of this machine, a file of this run
                command, capture_output=True, text=True, timeout=PATIENCE
            )
        except subprocess.TimeoutExpired:
            raise PdfError(f"{browser} did not print {report} in {PATIENCE} s.") from None
        if not page.is_file():
            said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise PdfError(f"{browser} did not print {report}: {said[-1]}")
        shutil.move(page, to)
    return to


def main(arguments: list[str]) -> int:
    """Print the report of the run's folder that is named; return the exit code."""
    folder = Path(arguments[0] if arguments else "runs/latest")
    try:
        print(write(folder / "report.html", folder / "report.pdf"))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
