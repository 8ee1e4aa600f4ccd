"""The runner as a process of its own, as a person starts it."""

import subprocess
import sys

from lib import ROOT


def runner(*words: str) -> subprocess.CompletedProcess:
    """Run `python -m lib.run` with these words, and give its exit code, output and errors."""
    command = [sys.executable, "-m", "lib.run", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
