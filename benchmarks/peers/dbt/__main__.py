"""dbt-duckdb, by the project in this folder. Parsing the project is not timed."""

import json
import os
import sys
import time
from pathlib import Path

import duckdb
from dbt.cli.main import dbtRunner

from benchmarks.peers import COUNTS, songs_in_one_file, sources, tell

PROJECT = str(Path(__file__).parent)


def build(runner: dbtRunner, data: str, folder: str) -> None:
    """Build all models."""
    songs_in_one_file(data, folder)
    done = runner.invoke(["--quiet", "run", *options(data, folder)])
    if not done.success:
        raise RuntimeError(done.exception or "a model failed")


def options(data: str, folder: str) -> list[str]:
    """Return where everything lies."""
    where = ["--project-dir", PROJECT, "--profiles-dir", PROJECT]
    where += ["--vars", json.dumps(sources(data, folder))]
    return [*where, "--target-path", f"{folder}/target", "--log-path", folder]


if __name__ == "__main__":
    data, folder = sys.argv[1:]
    os.environ["STAR"] = file = f"{folder}/star.duckdb"
    parsed = dbtRunner().invoke(["--quiet", "parse", *options(data, folder)])
    runner = dbtRunner(manifest=parsed.result)
    began = time.perf_counter()
    build(runner, data, folder)
    took = time.perf_counter() - began
    with duckdb.connect(file) as opened:
        tell(took, opened.execute(COUNTS).fetchone())
