"""The run of the five notebooks, measured beside what it can't do without."""

from __future__ import annotations

import subprocess
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from benchmarks.loads import code_of
from benchmarks.pairs import PRODUCT, Result, Side, compared, timed
from lib import ROOT

FIVE_EMPTY = """
import sys, papermill
from traitlets.config import Config
quiet = Config({"KernelManager": {"transport_encryption": "auto"}})
for path in sys.argv[1:]:
    papermill.execute_notebook(path, path, progress_bar=False, config=quiet)
"""


def run(folder: Path, options: Namespace) -> Iterator[Result]:
    """The five notebooks on the sample beside five empty ones by papermill, each in one process."""
    import nbformat  # not for all of the benchmarks: see pairs

    paths = [str(folder / f"{number}.ipynb") for number in range(5)]
    for path in paths:
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell()])
        notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
        nbformat.write(notebook, path)
    floor = [PRODUCT, "-c", FIVE_EMPTY, *paths]
    ours, theirs = whole_run(folder), lambda: timed(lambda: quiet(floor))
    ours(), theirs()
    yield compared("run", "five empty notebooks", ours, theirs, options.pairs)


def help_text(folder: Path, options: Namespace) -> Iterator[Result]:
    """The runner's --help beside a Python that does nothing."""
    ours, theirs = (
        lambda: timed(lambda: quiet([PRODUCT, "-m", "lib.run", "--help"])),
        lambda: timed(lambda: quiet([PRODUCT, "-c", "pass"])),
    )
    ours(), theirs()
    yield compared("help", "python -c pass", ours, theirs, options.pairs)


def run_since(folder: Path, options: Namespace) -> Iterator[Result]:
    """The five notebooks on the sample beside those of an earlier version of this project."""
    before = code_of(options.since, folder)
    ours, theirs = whole_run(folder), whole_run(folder, before)
    ours(), theirs()
    yield compared("run-since", options.since, ours, theirs, options.pairs)


def whole_run(folder: Path, code: Path = ROOT) -> Side:
    """Return a run of the notebooks in `code` on the sample there, into a new warehouse."""
    database = folder / f"{code.name}.duckdb"
    command = [PRODUCT, "-m", "lib.run", "--database", database, "--runs", folder / "runs"]

    def once():
        database.unlink(missing_ok=True)
        return timed(lambda: quiet(command, code))

    return once


def quiet(command: list[object], code: Path = ROOT) -> None:
    """Run a command and pass over what it says."""
    nothing = subprocess.DEVNULL
    subprocess.run([*map(str, command)], check=True, cwd=code, stdout=nothing, stderr=nothing)
