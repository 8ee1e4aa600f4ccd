"""Compare the cost of two programs that run by turns, so that a slow machine slows both."""

import json
import os
import platform
import re
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

from lib import ROOT, UserError

OURS, THEIRS = sys.executable, str(ROOT / ".venv-bench" / "bin" / "python")
MEASURES = ("wall", "cpu", "memory")  # seconds, seconds, MB
Program = Callable[[], dict]  # runs, and returns what it printed: its measures and its counts


@dataclass
class Result:
    """Our program and another, measured in pairs.

    measures: by name, the medians of `ours` and `theirs`, and of theirs ÷ ours in each pair the
    median (`ratio`) and the range. note: why there are none.
    """

    benchmark: str
    against: str
    size: int
    pairs: int = 0
    measures: dict[str, dict[str, float]] = field(default_factory=dict)
    note: str = ""


def run_program(python: str, *arguments: object) -> dict:
    """Run benchmarks.peers in one of the environments, and return what it printed.

    Raises UserError with the last line of its error when it fails.
    """
    command = [python, "-P", "-m", "benchmarks.peers", *map(str, arguments)]
    environ = os.environ | {"PYTHONPATH": str(ROOT), "DO_NOT_TRACK": "1"}
    if not Path(python).exists():
        raise UserError(f"There is no {python}; `make bench` builds it.")
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environ)
    if done.returncode:
        raise UserError(f"{arguments[0]} failed: {(done.stderr.splitlines() or ['no error'])[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def compare(result: Result, ours: Program, theirs: Program, pairs: int) -> Result:
    """Run both once, to warm the file cache and to compare what they counted; then in pairs."""
    try:
        counts, other = ours()["counts"], theirs()["counts"]
        if wrong := [what for what in counts if other.get(what, counts[what]) != counts[what]]:
            both = ", ".join(f"{other[what]:,} {what} for our {counts[what]:,}" for what in wrong)
            raise UserError(f"{result.against} has {both}.")
        turns = [(ours(), theirs()) for _ in range(pairs)]
    except UserError as error:
        return replace(result, note=str(error))
    measures = {name: summarize([(our[name], other[name]) for our, other in turns])
                for name in MEASURES}  # fmt: skip
    return replace(result, pairs=pairs, measures=measures)


def summarize(turns: list[tuple[float, float]]) -> dict[str, float]:
    """Return the medians of both sides, and of their ratios, with the range of these."""
    ratios = [theirs / ours for ours, theirs in turns]
    ours, theirs = map(statistics.median, zip(*turns, strict=True))
    figures = {"ours": ours, "theirs": theirs, "ratio": statistics.median(ratios)}
    return figures | {"low": min(ratios), "high": max(ratios)}


def describe_machine() -> dict[str, object]:
    """Describe this machine, and the versions of what is compared."""
    asked, lock = (Path(__file__).with_name(f"requirements.{kind}") for kind in ("in", "lock"))
    names = re.findall(r"^[\w-]+", asked.read_text(), re.M)
    pins = dict(re.findall(r"^([\w-]+)==(\S+)", lock.read_text(), re.M))
    info = Path("/proc/cpuinfo")
    processor = re.search(r"model name\s*: (.+)", info.read_text()) if info.exists() else None
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": processor[1] if processor else platform.platform(),
        "cores": os.cpu_count(),
        "memory_gb": round(memory / 1e9, 1),
        "python": platform.python_version(),
        "duckdb": version("duckdb"),
        "peers": {name: pins[name] for name in names},
    }
