"""The load, measured beside what else builds the same star, and beside what it can't do without."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import subprocess
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks.pairs import PEERS, PRODUCT, BenchmarkError, Result, Side, Spent, compared, program
from lib import ROOT
from lib.load.records import EVENTS

PER_SCALE = 8_500  # events of lib.sample for a unit of its scale
OTHERS = {
    "polars": "Polars",
    "chdb": "chDB",
    "duckdb": "DuckDB, plain SQL",
    "dbt": "dbt-duckdb",
    "sqlmesh": "SQLMesh on DuckDB",
    "postgres": "PostgreSQL, COPY and SQL",
    "pandas": "pandas, rows into PostgreSQL",
}
MOST = {"pandas": 20_000}  # events; with more it takes minutes
OURS = ROOT / "benchmarks" / "peers" / "sparkify.py"
SONGS = OURS.with_name("songs.py")
TIMED = """
import sys, time
import duckdb
with duckdb.connect({file}, config={{"preserve_insertion_order": {ordered}}}) as opened:
    began = time.perf_counter()
    ((rows, *_),) = opened.execute({query!r}, [sys.argv[1]]).fetchall()
print('{{"seconds": %r, "rows": %d}}' % (time.perf_counter() - began, rows))
"""
CACHED = Path("/proc/sys/vm/drop_caches")  # Linux forgets what it holds of files; root's alone


def made(folder: Path, *options: object) -> Path:
    """Make a sample by a program of its own, so that its memory is not counted as ours."""
    data = folder / "data"
    command = [PRODUCT, "-m", "lib.sample", data, *map(str, options)]
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    return data


def samples(folder: Path, sizes: Iterable[int]) -> Iterator[tuple[int, Path, Path]]:
    """Make a sample of about each number of events; yield it, a folder, and the sample in it."""
    for size in sizes:
        place = folder / str(size)
        place.mkdir()
        yield size, place, made(place, "--scale", max(size / PER_SCALE, 0.01))
        shutil.rmtree(place)


def in_new_folder(folder: Path, run: Callable[[str], Spent]) -> Spent:
    """Run a program that is given an empty folder."""
    with tempfile.TemporaryDirectory(dir=folder) as own:
        return run(own)


def writer(folder: Path, command: list, code: Path = ROOT) -> Side:
    """Return a program whose last argument is an empty folder to write to."""
    return partial(in_new_folder, folder, lambda own: program([*command, own], code))


def our_load(folder: Path, data: Path, code: Path = ROOT) -> Side:
    """Return a load of `data` by the project in `code`."""
    return writer(folder, [PRODUCT, "-P", OURS, data], code)


def load(folder: Path, options: Namespace) -> Iterator[Result]:
    """The load beside others that build the same star from the same files, by the same rules."""
    for size, place, data in samples(folder, options.events):
        ours = our_load(place, data)
        expected = ours().told
        for name in options.peers or OTHERS:
            if size > MOST.get(name, size):
                note = f"over {MOST[name]:,} events it takes minutes; not run"
                yield Result("load", OTHERS[name], size, note=note)
                continue
            theirs = their_load(place, data, name)
            require_equal(OTHERS[name], theirs().told, expected)
            yield compared("load", OTHERS[name], ours, theirs, options.pairs, size)


def their_load(folder: Path, data: Path, name: str) -> Side:
    """Return the load of `data` by one of the others."""
    return writer(folder, [PEERS, "-P", "-m", f"benchmarks.peers.{name}", data])


def require_equal(name: str, counts: dict, expected: dict) -> None:
    """Raise BenchmarkError unless another's counts are ours."""
    for what, count in expected.items():
        if counts[what] != count:
            raise BenchmarkError(f"{name} has {counts[what]:,} {what}; ours are {count:,}.")


def small_files(folder: Path, options: Namespace) -> Iterator[Result]:
    """One-object song files brought into staging, beside `create table as` over DuckDB's glob."""
    for size in options.songs:
        place = folder / str(size)
        data = made(place, "--songs", size, "--scale", 0.1) / "song_data"
        ours = writer(place, [PRODUCT, "-P", SONGS, data])
        expected = ours().told
        for ordered, about in (True, "by default"), (False, "any order"):
            theirs, against = own_glob(place, data, ordered), f"DuckDB's own glob, {about}"
            try:
                require_equal(against, theirs().told, expected)
            except BenchmarkError as error:
                yield Result("small-files", against, size, "warm", note=str(error))
                continue
            yield compared("small-files", against, ours, theirs, options.pairs, size, "warm")
            if os.access(CACHED, os.W_OK):
                sides = partial(cold, ours), partial(cold, theirs)
                yield compared("small-files", against, *sides, options.pairs, size, "cold")
        shutil.rmtree(place)


def own_glob(folder: Path, data: Path, ordered: bool) -> Side:
    """Return DuckDB's own way to make a table of all song files."""
    query = "create table songs as select * from read_json(?)"
    code = TIMED.format(query=query, file="sys.argv[2] + '/songs.duckdb'", ordered=ordered)
    return writer(folder, [PRODUCT, "-c", code, f"{data}/**/*.json"])


def cold(side: Side) -> Spent:
    """Run a side when the system holds nothing of any file."""
    os.sync()
    CACHED.write_text("3")
    return side()


def parse(folder: Path, options: Namespace) -> Iterator[Result]:
    """A load beside DuckDB's own parse of the same event files, of which nothing is kept."""
    columns = {
        name: "varchar" if isinstance(s, int) else "double" for name, s in EVENTS.fields.items()
    }
    filled = ", ".join(f'count("{name}")' for name in columns)
    query = f"select {filled} from read_json(?, format = 'newline_delimited', columns = {columns})"
    code = TIMED.format(query=query, file="':memory:'", ordered=False)
    for size, place, data in samples(folder, options.events):
        command = [PRODUCT, "-c", code, f"{data}/log_data/**/*.json"]
        ours, theirs = our_load(place, data), partial(program, command)
        ours(), theirs()
        yield compared("parse", "DuckDB's parse of the events", ours, theirs, options.pairs, size)


def growth(folder: Path, options: Namespace) -> Iterator[Result]:
    """The load of more events beside that of the fewest, times as many: above 1, less than grown.

    The note is the exponent of time by events, between the two.
    """
    fewest, *more = sorted(options.events)
    with contextlib.closing(samples(folder, [fewest])) as small:
        _, place, data = next(small)
        few = our_load(place, data)
        for size, larger, all_data in samples(folder, more):
            factor = size / fewest

            def so_often(factor: float = factor) -> Spent:
                spent = few()
                return replace(spent, seconds=spent.seconds * factor)

            ours = our_load(larger, all_data)
            ours(), so_often()
            against = f"{fewest:,} events × {factor:g}"
            result = compared("growth", against, ours, so_often, options.pairs, size)
            exponent = 1 - math.log(result.ratio) / math.log(factor)
            yield replace(result, note=f"seconds ~ events^{exponent:.2f}")


def increment(folder: Path, options: Namespace) -> Iterator[Result]:
    """One more day into a warehouse of the days before it, beside a load of all days."""
    for size, place, data in samples(folder, options.events):
        later, base = place / "later", place / "base"
        later.mkdir(), base.mkdir()
        files = sorted(data.glob("log_data/**/*.json"))
        last = [file for file in files if file.name[:10] == files[-1].name[:10]]
        for file in last:
            file.rename(later / file.name)
        program([PRODUCT, "-P", OURS, data, base])
        for file in last:
            (later / file.name).rename(file)

        def more(own: str, data: Path = data, base: Path = base) -> Spent:
            shutil.copy(base / "star.duckdb", own)
            os.sync()  # else our commit waits until the copy is on the disk
            return program([PRODUCT, "-P", OURS, data, own])

        ours, everything = partial(in_new_folder, place, more), our_load(place, data)
        ours(), everything()
        yield compared("increment", "a load of all days", ours, everything, options.pairs, size)


def load_since(folder: Path, options: Namespace) -> Iterator[Result]:
    """The load beside that of an earlier version of this project."""
    before = code_of(options.since, folder)
    for size, place, data in samples(folder, options.events):
        ours, theirs = our_load(place, data), our_load(place, data, before)
        ours(), theirs()
        yield compared("load-since", options.since, ours, theirs, options.pairs, size)


def code_of(commit: str, folder: Path) -> Path:
    """Unpack the project as it was at a commit."""
    before, kept = folder / "before", folder / "before.tar"
    archive = ["git", "archive", "--output", str(kept), commit]
    subprocess.run(archive, check=True, cwd=ROOT)
    shutil.unpack_archive(kept, before, filter="data")
    return before
