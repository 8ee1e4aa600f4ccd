"""SQLMesh on DuckDB: the models of the dbt project beside this. Reading them is not timed."""

import os
import shutil
import sys
import time
from pathlib import Path

import duckdb
from sqlmesh import Context

from benchmarks.peers import COUNTS, songs_in_one_file, tell
from benchmarks.peers.duckdb import MODELS, query


def project(data: str, folder: str) -> Context:
    """Write the project to `folder`, and read it."""
    places = {"events": f"{data}/log_data/**/*.json", "songs": f"{folder}/songs.ndjson"}
    shutil.copy(Path(__file__).with_name("config.yaml"), folder)
    models = Path(folder, "models")
    models.mkdir()
    for name in [file.stem for file in MODELS.iterdir()]:
        text = f"model (name star.{name}, kind full);\n\n{query(name, places, 'star.{}')}"
        (models / f"{name}.sql").write_text(text)
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
