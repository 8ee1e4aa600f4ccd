"""The load of this project, in its own environment."""

import pandas  # noqa: F401 lib imports it when it needs it; no program's imports are timed

from lib import config, load, warehouse


def build(data: str, folder: str) -> str:
    """Load what is new of a sample; the warehouse is made when there is none."""
    file = f"{folder}/star.duckdb"
    places = {"log_data": f"{data}/log_data", "song_data": f"{data}/song_data", "database": file}
    settings = config.read_settings(environ={}, **places)
    opened = warehouse.connect(settings, create=True)
    opened.create_schema()
    load.load(opened, settings, lambda step: None)
    opened.close()
    return file
