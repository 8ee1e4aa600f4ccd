"""Work in several processes: what holds the interpreter, threads do no faster than one."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from queue import SimpleQueue
from subprocess import PIPE, Popen
from typing import Any

from lib import ROOT, SourceError

MOST = 8  # processes; a disk brings no more files at once
# Not multiprocessing: it runs the caller's own script again in each process. A worker imports
# nothing from the folder that it is started in (-P).
START = "import sys; sys.path.insert(0, sys.argv[1]); from lib.load import workers; workers.work()"


def each(function: Callable, tasks: Iterable) -> Iterator[Any]:
    """Yield what `function`, of a module of lib, returns for each task, in the order of the tasks.

    Raises what it raises, and SourceError when a process ends before its work is done.
    """
    count = min(os.cpu_count() or 1, MOST)
    with ExitStack() as stack:
        free: SimpleQueue[Popen] = SimpleQueue()
        for _ in range(count):
            free.put(stack.enter_context(_worker()))
        pool = stack.enter_context(ThreadPoolExecutor(count))

        def run(task) -> Any:
            process = free.get()
            try:
                pickle.dump((function, task), process.stdin)
                process.stdin.flush()
                return pickle.load(process.stdout)  # noqa: S301 our own
            except (EOFError, OSError):
                return SourceError(
                    "A process that reads files ended before its work was done, as when memory "
                    "runs out; load again. Nothing was loaded."
                )
            finally:
                free.put(process)

        for result in pool.map(run, tasks):
            if isinstance(result, Exception):
                raise result
            yield result


@contextmanager
def _worker() -> Iterator[Popen]:
    """A process that works until its input ends."""
    command = [sys.executable, "-P", "-c", START, str(ROOT)]
    process = Popen(command, stdin=PIPE, stdout=PIPE)  # noqa: S603 no one else's
    try:
        yield process
    finally:
        with suppress(OSError):  # of what was meant for one that has ended
            process.stdin.close()
        process.stdout.close()
        process.wait()


def work() -> None:
    """Do task after task, as a worker; Ctrl-C is for its caller, whose end closes the input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()  # a fifth of the time; what a task leaves behind holds no cycle
    while True:
        try:
            function, task = pickle.load(sys.stdin.buffer)  # noqa: S301 our own
        except EOFError:
            return
        try:
            result = function(task)
        except Exception as error:  # noqa: BLE001 it is raised in the caller
            result = error
        pickle.dump(result, sys.stdout.buffer)
        sys.stdout.buffer.flush()
