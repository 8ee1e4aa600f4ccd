"""The load of this project; in any version of it: whichever `lib` is first on the path."""

import runpy
import sys
import time
from collections.abc import Callable
from pathlib import Path

import duckdb  # noqa: F401 lib imports all three when it needs them; of no peer is that timed
import jinja2  # noqa: F401
import pandas  # noqa: F401

from lib import config, load, warehouse

# By its path, since another version's `benchmarks` may be the first to be found.
shared = runpy.run_path(str(Path(__file__).with_name("__init__.py")))


def build(data: str, file: str, progress: Callable[[str], None] = lambda step: None) -> None:
    """Load the sample into a new warehouse; `progress` is told each step."""
    progress("opening, making the tables")
    places = {"log_data": f"{data}/log_data", "song_data": f"{data}/song_data", "database": file}
    settings = config.load(environ={}, **places)
    opened = warehouse.connect(settings, create=True)
    opened.create_schema()
    load.load(opened, settings, progress)
    progress("closing the file")
    opened.close()


if __name__ == "__main__":
    data, folder = sys.argv[1:]
    file = f"{folder}/star.duckdb"
    began = time.perf_counter()
    build(data, file)
    took = time.perf_counter() - began
    opened = warehouse.connect(config.load(environ={}, database=file), read_only=True)
    shared["tell"](took, opened.raw.execute(shared["COUNTS"]).fetchone())
