"""SQLMesh on DuckDB, by the project in this folder. Reading the project is not timed."""

import os
import sys
import time
from pathlib import Path

import duckdb
from sqlmesh import Context

from benchmarks.peers import COUNTS, songs_in_one_file, tell

if __name__ == "__main__":
    data, folder = sys.argv[1:]
    os.environ["STAR"] = file = f"{folder}/star.duckdb"
    os.environ["EVENTS"] = f"{data}/log_data/**/*.json"
    os.environ["SONGS"] = f"{folder}/songs.ndjson"
    os.environ["CACHE"] = f"{folder}/cache"
    project = Context(paths=str(Path(__file__).parent))
    began = time.perf_counter()
    songs_in_one_file(data, folder)
    project.plan(auto_apply=True, no_prompts=True)
    project.close()
    took = time.perf_counter() - began
    with duckdb.connect(file) as opened:
        opened.execute("use star")
        tell(took, opened.execute(COUNTS).fetchone())
