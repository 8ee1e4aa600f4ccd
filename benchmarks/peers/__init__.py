"""Programs that build the same star from the same files, each by other means.

A module has `build`, which is timed and returns a DuckDB file, a folder of Parquet, or counts; and
where that is not enough `prepare(data, folder)`, which returns what `build` takes, and `count`,
which counts in what `build` returns.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

from jinja2 import Template

MODELS = Path(__file__).parents[1] / "project" / "models"  # of the dbt project; others run them too
STAGING = ("staging_events", "staging_songs")
STAR = ("songs", "artists", "time", "users", "songplays")
TYPES = TEXT, WHOLE, INTEGER, NUMBER = "varchar", "bigint", "integer", "double precision"
EVENTS = {"ts": WHOLE, "sessionId": WHOLE, "itemInSession": INTEGER, "status": INTEGER}
EVENTS |= dict.fromkeys(("length", "registration"), NUMBER)
EVENTS |= dict.fromkeys(("artist", "song", "page", "auth", "method", "level", "location"), TEXT)
EVENTS |= dict.fromkeys(("userId", "firstName", "lastName", "gender", "userAgent"), TEXT)
SONGS = dict.fromkeys(("song_id", "title", "artist_id", "artist_name", "artist_location"), TEXT)
SONGS |= dict.fromkeys(("artist_latitude", "artist_longitude", "duration"), NUMBER)
SONGS |= {"year": INTEGER}
COUNTED = {"matched": "songplays where song_id is not null"}
COUNTED |= {"paid": "songplays where level = 'paid'"} | {table: table for table in STAR}
COUNTS = ", ".join(f"(select count(*) from {rows}) as {name}" for name, rows in COUNTED.items())
COUNTS = f"select {COUNTS}"


def read_songs(data: str) -> Iterator[str]:
    """Yield each song of a sample as one line of JSON; a file may hold several, or be indented."""
    scan = json.JSONDecoder().raw_decode
    for folder, _, names in os.walk(f"{data}/song_data"):
        for name in names:
            with open(f"{folder}/{name}", encoding="utf-8") as file:
                text = file.read().strip()
            while text:
                song, end = scan(text)
                yield json.dumps(song) if "\n" in text[:end] else text[:end]
                text = text[end:].lstrip()


def join_songs(data: str, folder: str) -> None:
    """Write the songs of a sample to songs.ndjson; opening many small files is slow."""
    Path(folder, "songs.ndjson").write_text("\n".join(read_songs(data)), encoding="utf-8")


def find_sources(data: str, folder: str) -> dict[str, str]:
    """Return where DuckDB's models find the events of a sample, and its songs once joined."""
    read = "read_json('{}', format = 'newline_delimited', columns = {})"
    events, songs = f"{data}/log_data/**/*.json", f"{folder}/songs.ndjson"
    return {"events": read.format(events, EVENTS), "songs": read.format(songs, SONGS)}


def render_models(sources: dict[str, str], table: str = "{}") -> dict[str, str]:
    """Return the SELECT of each model, by name and in an order in which they can be built.

    sources: what `events` and `songs` are read from. table: how a model names another one.
    """
    texts = {model: (MODELS / f"{model}.sql").read_text() for model in (*STAGING, *STAR)}
    return {m: Template(t).render(ref=table.format, var=sources.get) for m, t in texts.items()}


def read_row(cursor) -> dict[str, int]:
    """Return the first row of what a cursor has executed, by the names of its columns."""
    return dict(zip([column[0] for column in cursor.description], cursor.fetchone(), strict=True))
