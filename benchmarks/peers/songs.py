"""The song files of a folder, brought into the staging table of this project."""

import json
import sys
import tempfile
import time
from pathlib import Path

import duckdb  # noqa: F401 lib imports all three when it needs them; of no peer is that timed
import jinja2  # noqa: F401
import pandas  # noqa: F401

from lib import config, warehouse
from lib.load.files import Batch, gather_files
from lib.load.records import SONGS


def stage(data: str, file: str) -> int:
    """Read, check and stage all song files, and return how many records there are."""
    opened = warehouse.connect(config.load(environ={}, database=file), create=True)
    opened.create_schema()
    with tempfile.TemporaryDirectory() as scratch, opened.transaction():
        batch = Batch(SONGS, data)
        gather_files(batch, Path(scratch), {}, {})
        opened.stage(SONGS.name, SONGS.fields, batch.parts, 1)
    opened.close()
    return batch.records


if __name__ == "__main__":
    began = time.perf_counter()
    records = stage(sys.argv[1], f"{sys.argv[2]}/star.duckdb")
    print(json.dumps({"seconds": time.perf_counter() - began, "rows": records}))
