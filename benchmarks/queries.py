"""The questions of the notebooks, measured beside the same SQL elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.loads import OURS, samples
from benchmarks.pairs import PEERS, PRODUCT, BenchmarkError, Result, Spent, compared, program
from benchmarks.questions import TABLES
from lib import ROOT
from lib.warehouse.templates import SQL, render

OTHERS = {"postgres": "PostgreSQL", "chdb": "chDB", "polars": "Polars"}
VALUES = {"level": "", "top": 10, "least": 5}
ANALYSES = sorted(path.stem for path in (SQL / "analysis").glob("*.sql"))


class Engine:
    """A program that answers questions."""

    def __init__(self, process: subprocess.Popen, name: str):
        self.process, self.name = process, name

    def ask(self, analysis: str) -> dict:
        """Return the answer: its seconds and digest, or its error."""
        question = {"name": analysis, "values": VALUES}
        for dialect in ("duckdb", "redshift"):
            (question[dialect],) = render(f"analysis/{analysis}", dialect)
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def answer(self) -> dict:
        """Return what it says next."""
        line = self.process.stdout.readline()
        if not line:
            raise BenchmarkError(
                f"{self.name} ended; it needs more memory, or benchmarks/questions."
            )
        return json.loads(line)

    def spent(self, analysis: str) -> Spent:
        """Return what an answer took."""
        return Spent(self.ask(analysis)["seconds"])


@contextmanager
def engine(python: Path, name: str, folder: Path) -> Iterator[Engine]:
    """Start a program that answers questions, and end it."""
    command = [python, "-P", "-m", f"benchmarks.questions.{name}", folder]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen([*map(str, command)], cwd=ROOT, env=environ, **pipes) as process:
        started = Engine(process, name)
        started.answer()
        yield started
        process.stdin.close()


def queries(folder: Path, options: Namespace) -> Iterator[Result]:
    """Each question of the notebooks beside the same SQL in PostgreSQL, chDB and Polars."""
    for size, place, data in samples(folder, options.queries):
        loaded(data, place)
        with engine(PRODUCT, "sparkify", place) as ours:
            for name in [name for name in options.peers or OTHERS if name in OTHERS]:
                with engine(PEERS, name, place) as theirs:
                    for analysis in ANALYSES:
                        yield asked(analysis, ours, theirs, options.pairs, size)
            yield Result("queries", "the slowest of ours", size, note=slowest(ours))


def slowest(ours: Engine) -> str:
    """Return which question takes us longest, and how long."""
    took = {analysis: ours.spent(analysis).seconds for analysis in ANALYSES}
    name = max(took, key=took.get)
    return f"{name}, {took[name]:.2f} s"


def loaded(data: Path, place: Path) -> None:
    """Load a sample, and write the tables beside the warehouse."""
    import duckdb  # not for all of the benchmarks: see pairs

    program([PRODUCT, "-P", OURS, data, place])
    shutil.rmtree(data)
    with duckdb.connect(str(place / "star.duckdb"), read_only=True) as opened:
        for table in TABLES:
            opened.execute(f"copy {table} to '{place / table}.parquet'")


def asked(analysis: str, ours: Engine, theirs: Engine, pairs: int, size: int) -> Result:
    """Measure one question, or say why the other has no answer to it."""
    expected, answer = ours.ask(analysis), theirs.ask(analysis)
    if "error" in expected:
        raise BenchmarkError(f"{analysis}: {expected['error']}")
    result = Result("queries", OTHERS[theirs.name], size, analysis)
    if "error" in answer:
        result.note = f"can't run it: {answer['error']}"
    elif answer["digest"] != expected["digest"]:
        result.note = f"another answer: {answer['digest']}; ours: {expected['digest']}"
    else:
        sides = (partial(side.spent, analysis) for side in (ours, theirs))
        return compared(result.benchmark, result.against, *sides, pairs, size, analysis)
    return result
