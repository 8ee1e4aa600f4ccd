"""The runner as a process of its own, as a person starts it, and a disk that is full for a test."""

import resource
import subprocess
import sys
from contextlib import contextmanager

from lib import ROOT

COMMAND = [sys.executable, "-m", "lib.run"]


def runner(*words: str) -> subprocess.CompletedProcess:
    """Run `python -m lib.run` with these words, and give its exit code, output and errors."""
    words = [*COMMAND, *words]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)


@contextmanager
def limit_file_size(size: int):
    """Let this process write no file beyond a size, in bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
