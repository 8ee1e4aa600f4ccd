"""dlt into DuckDB: its own reader of JSON lines, then the models of the dbt project."""

import os

import dlt
from dlt.sources.filesystem import filesystem, read_jsonl

from benchmarks import peers
from benchmarks.peers.duckdb import create_star

os.environ |= {
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "SCHEMA__NAMING": "direct",  # names of fields stay as they are
    "NORMALIZE__WORKERS": "2",
    "NORMALIZE__DATA_WRITER__FILE_MAX_ITEMS": "200000",  # several files, for two workers
}
TYPES = dict(zip(peers.TYPES, ("text", "bigint", "bigint", "double"), strict=True))


def read(table: str, columns: dict[str, str], folder: str, pattern: str):
    """Return a resource that reads files of JSON lines into a table."""
    types = {name: {"data_type": TYPES[kind]} for name, kind in columns.items()}
    reader = filesystem(bucket_url=folder, file_glob=pattern) | read_jsonl()
    return reader.with_name(table).apply_hints(columns=types)


def build(data: str, folder: str) -> str:
    """Load the files, and build the star from what was loaded."""
    peers.join_songs(data, folder)
    file = f"{folder}/star.duckdb"
    database = dlt.destinations.duckdb(file)
    pipeline = dlt.pipeline("star", folder, destination=database, dataset_name="raw")
    events = read("events", peers.EVENTS, f"{data}/log_data", "**/*.json")
    songs = read("songs", peers.SONGS, folder, "songs.ndjson")
    pipeline.run([events, songs], loader_file_format="parquet")
    return create_star(file, {"events": "raw.events", "songs": "raw.songs"})
