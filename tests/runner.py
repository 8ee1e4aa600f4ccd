"""The runner as a process of its own, as a person starts it."""

import re
import subprocess
import sys

from lib import ROOT

# libzmq's own last words, now and then, in a kernel that is ended while its threads are busy.
ZMQ = re.compile(r"^Assertion failed: .*\(src/signaler\.cpp:\d+\)\n", re.MULTILINE)


def runner(*words: str) -> subprocess.CompletedProcess:
    """Run `python -m lib.run` with these words, and give its exit code, output and errors."""
    command = [sys.executable, "-m", "lib.run", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    done.stderr = ZMQ.sub("", done.stderr)
    return done
