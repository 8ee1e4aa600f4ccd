"""Measure the run and the load against what they can't do without, in pairs.

`python -m benchmarks [NAME …] [--pairs 5] [--since COMMIT]`. The two sides alternate, so that a
machine that slows down slows both; the median of the pairs' ratios is the figure, its range the
spread.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial, update_wrapper
from pathlib import Path

import duckdb
import nbformat

from lib import ROOT, config, load, sample, warehouse
from lib.records import EVENTS

FIVE_EMPTY = """
import sys, papermill
from traitlets.config import Config
quiet = Config({"KernelManager": {"transport_encryption": "auto"}})
for path in sys.argv[1:]:
    papermill.execute_notebook(path, path, progress_bar=False, config=quiet)
"""
ONE_LOAD = """
import os, sys, time
from lib import ROOT, config, load, warehouse
data, file = sys.argv[1:]
places = {"log_data": f"{data}/log_data", "song_data": f"{data}/song_data", "database": file}
settings = config.load(environ={}, **places)
opened = warehouse.connect(settings, create=True)
opened.create_schema()
began = time.perf_counter()
load.load(opened, settings)
print(time.perf_counter() - began)
opened.close()
os.remove(file)
"""
Side = Callable[[], float]


def seconds(action: Callable[[], object]) -> float:
    """Return how long `action` takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def run_against_empty_notebooks(folder: Path) -> tuple[Side, Side]:
    """The five notebooks on the sample ÷ five empty ones by papermill, both in one process."""
    paths = [str(folder / f"{number}.ipynb") for number in range(5)]
    for path in paths:
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell()])
        notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
        nbformat.write(notebook, path)
    database, runs = folder / "run.duckdb", str(folder / "runs")
    command = [sys.executable, "-m", "lib.run", "--database", str(database), "--runs", runs]
    floor = [sys.executable, "-c", FIVE_EMPTY, *paths]

    def whole_run() -> float:
        database.unlink(missing_ok=True)
        name = f"run-{time.time_ns()}"
        return seconds(lambda: _quiet([*command, "--name", name]))

    return whole_run, lambda: seconds(lambda: _quiet(floor))


def help_against_nothing(_: Path) -> tuple[Side, Side]:
    """The runner's `--help` ÷ a Python that does nothing."""
    command = [sys.executable, "-m", "lib.run", "--help"]
    nothing = [sys.executable, "-c", "pass"]
    return lambda: seconds(lambda: _quiet(command)), lambda: seconds(lambda: _quiet(nothing))


def _quiet(command: list[str], code: Path = ROOT) -> None:
    quiet = subprocess.DEVNULL
    subprocess.run(command, check=True, cwd=code, stdout=quiet, stderr=quiet)


def _load(folder: Path, places: dict[str, str]) -> float:
    """Return the seconds of a load into a new warehouse."""
    file = folder / f"{time.time_ns()}.duckdb"
    settings = config.load(environ={}, database=str(file), **places)
    opened = warehouse.connect(settings, create=True)
    opened.create_schema()
    took = seconds(lambda: load.load(opened, settings))
    opened.close()
    file.unlink()
    return took


def small_files_against_glob(folder: Path) -> tuple[Side, Side]:
    """A load with 14,000 one-object song files ÷ DuckDB's own `read_json` over the same files."""
    data = folder / "small"
    sample.make(data, songs=14_000)
    places = {"log_data": str(data / "log_data"), "song_data": str(data / "song_data")}

    def glob() -> float:
        file = folder / f"{time.time_ns()}.duckdb"
        opened = duckdb.connect(str(file), config={"preserve_insertion_order": False})
        query = "create table songs as select * from read_json(?)"
        took = seconds(lambda: opened.execute(query, [f"{places['song_data']}/**/*.json"]))
        opened.close()
        file.unlink()
        return took

    return lambda: _load(folder, places), glob


def load_against_parse(folder: Path) -> tuple[Side, Side]:
    """A load of 340,000 events, audits and all ÷ DuckDB's own parse of the same bytes."""
    data = folder / "events"
    sample.make(data, scale=40)
    places = {"log_data": str(data / "log_data"), "song_data": str(data / "song_data")}
    columns = {
        name: "varchar" if isinstance(s, int) else "double" for name, s in EVENTS.fields.items()
    }
    filled = ", ".join(f'count("{name}")' for name in columns)
    query = f"select {filled} from read_json(?, format = 'newline_delimited', columns = {columns})"

    def parse() -> float:
        with duckdb.connect() as opened:
            files = [f"{places['log_data']}/**/*.json"]
            return seconds(lambda: opened.execute(query, files).fetchall())

    return lambda: _load(folder, places), parse


def _code_of(commit: str, folder: Path) -> Path:
    """Unpack the project as it was at a commit."""
    before, kept = folder / "before", folder / "before.tar"
    archive = ["git", "archive", "--output", str(kept), commit]
    subprocess.run(archive, check=True, cwd=ROOT)
    shutil.unpack_archive(kept, before, filter="data")
    return before


def load_against_an_earlier_version(folder: Path, commit: str) -> tuple[Side, Side]:
    """A load of 1,020,000 events ÷ the same load by the code of another commit."""
    data, before = folder / "events", _code_of(commit, folder)
    sample.make(data, scale=120)

    def by(code: Path) -> float:
        command = [sys.executable, "-c", ONE_LOAD, data, folder / f"{time.time_ns()}.duckdb"]
        done = subprocess.run(command, check=True, cwd=code, stdout=subprocess.PIPE)
        return float(done.stdout.splitlines()[-1])  # below DuckDB's progress

    return lambda: by(ROOT), lambda: by(before)


def run_against_an_earlier_version(folder: Path, commit: str) -> tuple[Side, Side]:
    """The five notebooks on the sample ÷ those of another commit."""
    before = _code_of(commit, folder)

    def by(code: Path) -> float:
        own = folder / f"{time.time_ns()}"
        options = ["--database", str(own / "run.duckdb"), "--runs", str(own / "runs")]
        own.mkdir()
        return seconds(lambda: _quiet([sys.executable, "-m", "lib.run", *options], code))

    return lambda: by(ROOT), lambda: by(before)


BENCHMARKS = {"run": run_against_empty_notebooks, "small-files": small_files_against_glob}
BENCHMARKS |= {"load": load_against_parse, "help": help_against_nothing}
EARLIER = {"load-since": load_against_an_earlier_version}
EARLIER["run-since"] = run_against_an_earlier_version


def measured(name: str, pairs: int) -> dict:
    """Return one benchmark's figures: seconds of both sides, ratio of each pair."""
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = BENCHMARKS[name](Path(folder))
        ours(), theirs()  # warm the file cache
        timed = [(ours(), theirs()) for _ in range(pairs)]
    ratios = [mine / other for mine, other in timed]
    return {
        "benchmark": name,
        "what": BENCHMARKS[name].__doc__,
        "seconds": statistics.median(mine for mine, _ in timed),
        "against": statistics.median(other for _, other in timed),
        "ratio": statistics.median(ratios),
        "spread": [min(ratios), max(ratios)],
        "pairs": pairs,
    }


def main() -> None:
    """Measure, print a table, keep it as JSON."""
    command = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    command.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    command.add_argument("--pairs", type=int, default=5)
    command.add_argument("--since", metavar="COMMIT", help=f"adds {', '.join(EARLIER)}")
    arguments = command.parse_args()
    if arguments.since:
        for name, against in EARLIER.items():
            BENCHMARKS[name] = update_wrapper(partial(against, commit=arguments.since), against)
    for name in arguments.names:
        if name not in BENCHMARKS:
            command.error(f"There is no benchmark {name}; {config.suggestion(name, BENCHMARKS)}")
    results = []
    print(f"{'':14}{'seconds':>9}{'against':>9}{'ratio':>8}   spread")
    for name in arguments.names or BENCHMARKS:
        result = measured(name, arguments.pairs)
        low, high = result["spread"]
        row = f"{result['seconds']:>9.2f}{result['against']:>9.2f}{result['ratio']:>8.2f}"
        print(f"{name:14}{row}   {low:.2f}–{high:.2f}   {result['what']}", flush=True)
        results.append(result)
    machine = {"cores": os.cpu_count(), "system": platform.platform(), "duckdb": duckdb.__version__}
    kept = Path(__file__).parent / "results.json"
    ran = {result["benchmark"] for result in results}
    others = json.loads(kept.read_text())["results"] if kept.exists() else []
    results += [result for result in others if result["benchmark"] not in ran]
    kept.write_text(json.dumps({"machine": machine, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
