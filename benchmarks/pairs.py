"""How two things are measured: by turns, so that a machine that slows down slows both.

Who measures memory keeps small: Linux counts what a program's parent used as the program's own.
"""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from lib import ROOT, UserError

PRODUCT = Path(sys.executable)
PEERS = ROOT / ".venv-bench" / "bin" / "python"


class BenchmarkError(UserError):
    """What can't be measured, and why."""


@dataclass
class Spent:
    """What one side took: seconds, and the peak memory of its largest process in MB.

    `told`: what it printed as JSON on its last line.
    """

    seconds: float
    megabytes: float | None = None
    told: dict | None = None


Side = Callable[[], Spent]


def timed(action: Callable[[], object]) -> Spent:
    """Return what `action` takes, by the clock here."""
    began = time.perf_counter()
    action()
    return Spent(time.perf_counter() - began)


def program(command: Iterable[object], code: Path = ROOT) -> Spent:
    """Run a program whose last line is JSON with its `seconds`.

    `code`: the folder whose modules come first.
    Raises BenchmarkError with the last line of what it says when it fails.
    """
    command = [*map(str, command)]
    if not Path(command[0]).exists():
        raise BenchmarkError(f"There is no {command[0]}; `make bench` builds it.")
    with tempfile.TemporaryFile("w+") as out:
        environ = os.environ | {"PYTHONPATH": str(code), "DO_NOT_TRACK": "1"}
        process = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, cwd=code, env=environ
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        lines = out.read().strip().splitlines() or ["it said nothing"]
    if process.returncode:
        shown = " ".join([Path(command[0]).name, *command[1:4]]).split("\n")[0]
        said = [line for line in lines if re.match(r"[\w.]+(Error|Exception): ", line)]
        raise BenchmarkError(f"{shown} … failed: {(said or lines)[-1]}")
    told = json.loads(lines[-1])
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return Spent(told.pop("seconds"), usage.ru_maxrss / unit, told)


@dataclass
class Result:
    """Ours and another's, measured in pairs.

    `what`: the question that was asked. `size`: in events, 0 where there is one size only.
    `seconds` and `megabytes`: the medians of ours and theirs. `ratio`: the median of theirs ÷
    ours, and `spread` its range. `note`: why there is no figure, or what else it says.
    """

    benchmark: str
    against: str
    size: int = 0
    what: str = ""
    seconds: tuple[float, float] | None = None
    megabytes: tuple[float, float] | None = None
    ratio: float | None = None
    spread: tuple[float, float] | None = None
    pairs: int = 0
    note: str = ""


def compared(
    name: str, against: str, ours: Side, theirs: Side, pairs: int, size: int = 0, what: str = ""
) -> Result:
    """Measure two sides that have run once already, which has warmed the file cache."""
    turns = [(ours(), theirs()) for _ in range(pairs)]
    ratios = [other.seconds / mine.seconds for mine, other in turns]
    sides = [*zip(*turns, strict=True)]
    seconds = tuple(statistics.median(turn.seconds for turn in side) for side in sides)
    megabytes = tuple(statistics.median(turn.megabytes or 0 for turn in side) for side in sides)
    spread = min(ratios), max(ratios)
    memory = megabytes if all(megabytes) else None
    ratio = statistics.median(ratios)
    return Result(name, against, size, what, seconds, memory, ratio, spread, pairs)


def machine() -> dict[str, object]:
    """Describe this machine."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",  # not its build: all are ratios
        "python": platform.python_version(),
        "duckdb": version("duckdb"),
        "peers": _versions(),
    }


def _versions() -> dict[str, str]:
    """Return the versions of the packages that the peers are."""
    asked, lock = (
        (ROOT / "benchmarks" / f"requirements.{kind}").read_text().splitlines()
        for kind in ("in", "lock")
    )
    names = {re.split(r"[^\w-]", line)[0] for line in asked}
    pins = (line.split(" ")[0].split("==") for line in lock if "==" in line)
    return {name: version for name, version in pins if name in names}


def _processor() -> str:
    """Return the processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = (line.split(": ", 1)[1] for line in lines if line.startswith("model name"))
    return next(named, platform.machine())
