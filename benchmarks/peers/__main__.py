"""Build the star by one peer: `python -m benchmarks.peers NAME DATA FOLDER`.

Reads the sample in DATA, keeps what it builds in FOLDER, and prints as JSON the wall and CPU
seconds that it took until the tables were complete, MB of its largest process, and its counts.
"""

import json
import re
import resource
import sys
import time
from importlib import import_module
from pathlib import Path

import psutil

from benchmarks import peers


def read_usage() -> tuple[float, float]:
    """Return CPU seconds, and the peak memory of the largest process in MB.

    Of this process and all below it, such as workers and a server, also those that have ended.
    """
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    unit = 1e6 if sys.platform == "darwin" else 1e3
    peaks = [resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / unit]
    peaks += [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit]
    for status in (Path(f"/proc/{process.pid}/status") for process in processes[1:]):
        if status.exists():  # only Linux tells it of a process that runs
            peaks.append(int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1]) / 1e3)
    return sum(sum(process.cpu_times()[:4]) for process in processes), max(peaks)


def count_in_duckdb(built: str) -> dict[str, int]:
    """Count what was built in a DuckDB file, or as Parquet in a folder."""
    import duckdb

    in_files = Path(built).is_dir()
    with duckdb.connect(":memory:" if in_files else built) as database:
        for table in peers.STAR if in_files else ():
            database.execute(f"create view {table} as from '{built}/{table}.parquet'")
        return peers.read_row(database.execute(peers.COUNTS))


def main(name: str, *places: str) -> None:
    """Build, count, and print."""
    peer = import_module(f"benchmarks.peers.{name}")
    arguments = peer.prepare(*places) if hasattr(peer, "prepare") else places
    began, (cpu_before, _) = time.perf_counter(), read_usage()
    built = peer.build(*arguments)
    wall, (cpu, memory) = time.perf_counter() - began, read_usage()
    count = dict if isinstance(built, dict) else getattr(peer, "count", count_in_duckdb)
    cost = {"wall": wall, "cpu": cpu - cpu_before, "memory": memory}
    print(json.dumps(cost | {"counts": count(built)}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
