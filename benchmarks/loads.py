"""The benchmarks: the load beside others, its parts beside what they can't do without, the run."""

import os
import shutil
import subprocess
import tempfile
from argparse import Namespace
from collections.abc import Iterable, Iterator
from pathlib import Path

from benchmarks import peers
from benchmarks.measure import OURS, THEIRS, Program, run_program
from lib import ROOT

Pair = tuple[str, int, Program, Program]  # what is beside, size, ours, theirs
PER_SCALE = 8_500  # events of lib.sample for a unit of its scale
OTHERS = {"polars": "Polars", "chdb": "chDB", "duckdb": "DuckDB, plain SQL", "dbt": "dbt-duckdb"}
OTHERS |= {"sqlmesh": "SQLMesh on DuckDB", "postgres": "PostgreSQL", "dlt": "dlt into DuckDB"}
RUN = f"{OURS} -m lib.run --runs $1 --database $1/run.duckdb"
EMPTY_RUN = f"""{OURS} -c '
import sys, papermill
from nbformat import v4
for number in range(5):
    notebook = v4.new_notebook(cells=[v4.new_code_cell()])
    kernel = {{"kernel_name": "python3", "language": "python"}}
    papermill.execute_notebook(notebook, sys.argv[1] + "/out.ipynb", progress_bar=False, **kernel)
' $1"""


def make_samples(folder: Path, sizes: Iterable[int], songs: bool = False) -> Iterator[tuple]:
    """Make a sample of each number of events, or songs; yield it, a folder, the sample in it."""
    for size in sizes:
        place = folder / str(size)
        place.mkdir()
        command = [OURS, "-m", "lib.sample", str(place / "data"), "--scale"]
        command += ["0.01", "--songs", str(size)] if songs else [str(max(size / PER_SCALE, 0.01))]
        subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        yield size, place, place / "data"
        shutil.rmtree(place)


def prepare(folder: Path, peer: str, argument: object, database: Path | None = None) -> Program:
    """Return a call that runs a peer in a new folder, perhaps beside a copy of a database."""

    def run() -> dict:
        with tempfile.TemporaryDirectory(dir=folder) as own:
            if database:
                shutil.copy(database, own)
                os.sync()  # otherwise the program's commit waits until the copy is on the disk
            return run_program(THEIRS if peer in OTHERS else OURS, peer, argument, own)

    return run


def measure_load(folder: Path, options: Namespace) -> Iterator[Pair]:
    """The load beside others that build the same star from the same files, by the same rules."""
    for size, place, data in make_samples(folder, options.events):
        for peer in options.peers:
            yield OTHERS[peer], size, prepare(place, "sparkify", data), prepare(place, peer, data)


def measure_parse(folder: Path, options: Namespace) -> Iterator[Pair]:
    """A load beside DuckDB's parse of the same event files, of which nothing is kept."""
    for size, place, data in make_samples(folder, options.events):
        query = f"select count(columns(*)) from {peers.find_sources(data, '')['events']}"
        parse = prepare(place, "statement", query)
        yield "DuckDB's parse of the events", size, prepare(place, "sparkify", data), parse


def measure_increment(folder: Path, options: Namespace) -> Iterator[Pair]:
    """One more day into a warehouse of the days before it, beside a load of all days."""
    for size, place, data in make_samples(folder, options.events):
        newest = max(file.name for file in data.glob("log_data/**/*.json"))
        last_day = [*data.glob(f"log_data/**/{newest[:10]}*.json")]
        for file in last_day:
            file.rename(file.with_suffix(".later"))
        (place / "base").mkdir()
        run_program(OURS, "sparkify", data, place / "base")
        for file in last_day:
            file.with_suffix(".later").rename(file)
        day = prepare(place, "sparkify", data, place / "base" / "star.duckdb")
        yield "a load of all days", size, day, prepare(place, "sparkify", data)


def measure_small_files(folder: Path, options: Namespace) -> Iterator[Pair]:
    """A load of song files of one record each, beside `create table as` over DuckDB's glob."""
    for size, place, data in make_samples(folder, options.songs, songs=True):
        query = f"create table songs as select * from read_json('{data}/song_data/**/*.json');"
        query += "select count(distinct song_id) as songs from songs"
        glob = prepare(place, "statement", query)
        yield "DuckDB's own glob", size, prepare(place, "sparkify", data), glob


def measure_run(folder: Path, options: Namespace) -> Iterator[Pair]:
    """The five notebooks on the sample, beside five empty ones by papermill in one process."""
    run, empty = prepare(folder, "command", RUN), prepare(folder, "command", EMPTY_RUN)
    yield "five empty notebooks", 0, run, empty
