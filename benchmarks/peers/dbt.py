"""dbt-duckdb, by the project beside this folder."""

import json
import os

from dbt.cli.main import dbtRunner

from benchmarks import peers


def prepare(data: str, folder: str) -> tuple:
    """Parse the project."""
    os.environ["STAR"] = f"{folder}/star.duckdb"
    project = str(peers.MODELS.parent)
    options = ["--project-dir", project, "--profiles-dir", project]
    options += ["--vars", json.dumps(peers.find_sources(data, folder))]
    options += ["--target-path", f"{folder}/target", "--log-path", folder]
    parsed = dbtRunner().invoke(["--quiet", "parse", *options])
    return dbtRunner(manifest=parsed.result), options, data, folder


def build(runner: dbtRunner, options: list[str], data: str, folder: str) -> str:
    """Build all models."""
    peers.join_songs(data, folder)
    outcome = runner.invoke(["--quiet", "run", *options])
    if not outcome.success:
        raise RuntimeError(outcome.exception or "a model failed")
    return os.environ["STAR"]
