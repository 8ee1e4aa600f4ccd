"""Where the time of a load goes: seconds, and seconds of all threads, for each of its steps."""

from __future__ import annotations

import argparse
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from benchmarks.peers.sparkify import build


def steps(data: Path, file: Path) -> list[tuple[str, float, float]]:
    """Load a sample into a new warehouse; return each step with its seconds, and CPU seconds."""
    said: list[tuple[str, float, float]] = []

    def note(step: str) -> None:
        said.append((step, time.perf_counter(), time.process_time()))

    build(str(data), str(file), note)
    note("")
    return [
        (step, until - since, used - before)
        for (step, since, before), (_, until, used) in pairwise(said)
    ]


def main() -> None:
    """Print the table."""
    command = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__)
    command.add_argument("data", type=Path, help="a folder that lib.sample made")
    with tempfile.TemporaryDirectory() as folder:
        found = steps(command.parse_args().data, Path(folder) / "star.duckdb")
    found.append(("all", *(sum(row[at] for row in found) for at in (1, 2))))
    print(f"{'step':36}{'seconds':>9}{'of CPU':>9}")
    for step, seconds, used in found:
        print(f"{step:36}{seconds:9.2f}{used:9.2f}")


if __name__ == "__main__":
    main()
