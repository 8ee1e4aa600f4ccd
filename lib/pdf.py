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
    try:  # beside the report: the Chromium of a snap sees nothing of /tmp
        with TemporaryDirectory(prefix="print-", dir=report.parent) as folder:
            _print(browser, report, Path(folder) / "report.pdf", f"{folder}/profile")
            os.replace(f"{folder}/report.pdf", to)
    except OSError as error:
        raise PdfError(f"{to} can't be written: {error.strerror}.") from None
    return to


def _print(browser: str, report: Path, to: Path, profile: str) -> None:
    quiet = ["--headless", "--disable-gpu", "--no-pdf-header-footer", f"--user-data-dir={profile}"]
    page = [f"--print-to-pdf={to.resolve()}", report.resolve().as_uri()]
    try:
        done = subprocess.run(  # noqa: S603 a browser of this machine, a file of this run
            [browser, *quiet, *options(), *page], capture_output=True, text=True, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired:
        raise PdfError(f"{browser} did not print {report} in {PATIENCE} s.") from None
    if not to.is_file():
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise PdfError(f"{browser} did not print {report}: {said[-1]}")


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
