"""DuckDB by plain SQL: the statements of the dbt project beside this, without dbt."""

import sys
import time
from pathlib import Path

import duckdb
from jinja2 import Template

from benchmarks.peers import COUNTS, songs_in_one_file, sources, tell

MODELS = Path(__file__).parent / "dbt" / "models"
KEPT = ("songs", "artists", "time", "users", "songplays")


def query(model: str, places: dict[str, str], table: str = "{}") -> str:
    """Return what a model selects; `table`: how another one is named."""
    text = (MODELS / f"{model}.sql").read_text()
    return Template(text).render(ref=table.format, var=places.get)


def build(data: str, file: str, folder: str) -> None:
    """Build the star in a new database."""
    places = sources(data, folder)
    songs_in_one_file(data, folder)
    with duckdb.connect(file, config={"preserve_insertion_order": False}) as opened:
        for model in ("staging_events", "staging_songs"):
            opened.execute(f"create temporary table {model} as {query(model, places)}")
        for model in KEPT:
            opened.execute(f"create table {model} as {query(model, places)}")


if __name__ == "__main__":
    data, folder = sys.argv[1:]
    file = f"{folder}/star.duckdb"
    began = time.perf_counter()
    build(data, file, folder)
    took = time.perf_counter() - began
    with duckdb.connect(file) as opened:
        tell(took, opened.execute(COUNTS).fetchone())
