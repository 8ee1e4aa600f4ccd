"""The run of the five notebooks, measured beside what it can't do without."""

from __future__ import annotations

import subprocess
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from benchmarks.loads import code_of
from benchmarks.pairs import PRODUCT, Result, Side, compared, timed
from lib import ROOT

# What each notebook imports, and so the floor under its time.
IMPORTS = {
    "01_provision": "import duckdb, pandas",
    "02_schema": "import duckdb, jinja2, pandas, sqlalchemy, sql.magic",
    "03_load": "import duckdb, jinja2, pandas, sqlalchemy, sql.magic",
    "04_analyse": "import duckdb, jinja2, matplotlib, pandas, sqlalchemy, sql.magic",
    "05_teardown": "import duckdb, pandas",
}
FIVE_IMPORTS = """
import sys, papermill
from traitlets.config import Config
quiet = Config({"KernelManager": {"transport_encryption": "auto"}})
for path in sys.argv[1:]:
    papermill.execute_notebook(path, path, progress_bar=False, config=quiet)
"""


def run(folder: Path, options: Namespace) -> Iterator[Result]:
    """The five notebooks on the sample beside five that only import the same libraries."""
    import nbformat  # not for all of the benchmarks: see pairs

    paths = []
    for name, source in IMPORTS.items():
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
        notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
        paths.append(str(folder / f"{name}.ipynb"))
        nbformat.write(notebook, paths[-1])
    floor = [PRODUCT, "-c", FIVE_IMPORTS, *paths]
    ours, theirs = whole_run(folder), lambda: timed(lambda: quiet(floor))
    ours(), theirs()
    yield compared("run", "five notebooks that only import", ours, theirs, options.pairs)


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
