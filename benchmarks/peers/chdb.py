"""chDB, which is ClickHouse in the process, by the models of the dbt project."""

import json

from chdb import session

from benchmarks import peers

TYPES = dict(zip(peers.TYPES, ("String", "Int64", "Int32", "Float64"), strict=True))
KEYS = {"songs": "song_id", "artists": "artist_id", "time": "start_time"}
KEYS |= {"users": "(user_id, valid_from)", "songplays": "played_at"}


def name_source(files: str, columns: dict[str, str]) -> str:
    """Return what SQL reads files of JSON lines from."""
    types = ", ".join(f"{name} Nullable({TYPES[kind]})" for name, kind in columns.items())
    return f"file('{files}', JSONEachRow, '{types}')"


def build(data: str, folder: str) -> session.Session:
    """Build the star in a new database; staging is kept in memory."""
    peers.join_songs(data, folder)
    songs = name_source(f"{folder}/songs.ndjson", peers.SONGS)
    events = name_source(f"{data}/log_data/**/*.json", peers.EVENTS)
    database = session.Session(f"{folder}/star")
    database.query("create function epoch_ms as ms -> fromUnixTimestamp64Milli(ms, 'UTC')")
    database.query("set join_use_nulls = 1")
    for model, query in peers.render_models({"events": events, "songs": songs}).items():
        key = KEYS.get(model)
        engine = f"MergeTree order by {key} settings allow_nullable_key = 1" if key else "Memory"
        database.query(f"create table {model} engine = {engine} as {query}")
    return database


def count(database: session.Session) -> dict[str, int]:
    """Count what was built."""
    return json.loads(str(database.query(peers.COUNTS, "JSONEachRow")))
