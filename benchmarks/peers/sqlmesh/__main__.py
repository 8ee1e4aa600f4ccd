"""SQLMesh on DuckDB: the models of the dbt project beside this. Reading them is not timed."""

import os
import shutil
import sys
import time
from pathlib import Path

import duckdb
from sqlmesh import Context

from benchmarks.peers import COUNTS, songs_in_one_file, sources, tell
from benchmarks.peers.duckdb import MODELS, query


def project(data: str, folder: str) -> Context:
    """Write the project to `folder`, and read it."""
    shutil.copy(Path(__file__).with_name("config.yaml"), folder)
    models = Path(folder, "models")
    models.mkdir()
    for file in MODELS.iterdir():
        selected = query(file.stem, sources(data, folder), "star.{}")
        (models / file.name).write_text(f"model (name star.{file.stem}, kind full);\n\n{selected}")
    return Context(paths=folder)


if __name__ == "__main__":
    data, folder = sys.argv[1:]
    os.environ["STAR"] = file = f"{folder}/star.duckdb"
    mesh = project(data, folder)
    began = time.perf_counter()
    songs_in_one_file(data, folder)
    mesh.plan(auto_apply=True, no_prompts=True)
    mesh.close()
    took = time.perf_counter() - began
    with duckdb.connect(file) as opened:
        opened.execute("use star")
        tell(took, opened.execute(COUNTS).fetchone())
