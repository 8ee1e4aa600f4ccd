"""The load of this project; in any version of it: whichever `lib` is first on the path."""

import json
import sys
import time

import duckdb  # noqa: F401 lib imports both when it needs them; of no peer is that timed
import jinja2  # noqa: F401

from lib import config, load, warehouse

COUNTS = """
select
    (select count(*) from songplays),
    (select count(*) from songplays where song_id is not null),
    (select count(*) from songplays where level = 'paid'),
    (select count(*) from users),
    (select count(*) from songs),
    (select count(*) from artists),
    (select count(*) from time)
"""
COUNTED = ("songplays", "matched", "paid", "users", "songs", "artists", "time")


def build(data: str, file: str) -> None:
    """Load the sample into a new warehouse."""
    places = {"log_data": f"{data}/log_data", "song_data": f"{data}/song_data", "database": file}
    settings = config.load(environ={}, **places)
    opened = warehouse.connect(settings, create=True)
    opened.create_schema()
    load.load(opened, settings)
    opened.close()


if __name__ == "__main__":
    data, folder = sys.argv[1:]
    file = f"{folder}/star.duckdb"
    began = time.perf_counter()
    build(data, file)
    took = time.perf_counter() - began
    opened = warehouse.connect(config.load(environ={}, database=file), read_only=True)
    (counts,) = opened.raw.execute(COUNTS).fetchall()
    print(json.dumps({"seconds": took} | dict(zip(COUNTED, counts, strict=True))))
