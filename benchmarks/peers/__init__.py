"""What a load is measured beside: programs that build the same star from the same files.

Each is run by itself in `.venv-bench`, as `python -m benchmarks.peers.NAME DATA FOLDER`: it reads
the sample in DATA, keeps the five tables in FOLDER or in a PostgreSQL of its own, and prints its
seconds and the counts of what it built as JSON, on the last line. Importing, and reading a project
of its own, is not timed; all else is, until the tables are complete. What lies between the files
and the five tables is each one's own affair. `sparkify.py` is the load that is measured.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

# What every program counts, as SQL.
COUNTS = """
select
    (select count(*) from songplays) as songplays,
    (select count(*) from songplays where song_id is not null) as matched,
    (select count(*) from songplays where level = 'paid') as paid,
    (select count(*) from users) as users,
    (select count(*) from songs) as songs,
    (select count(*) from artists) as artists,
    (select count(*) from time) as time
"""
COUNTED = ("songplays", "matched", "paid", "users", "songs", "artists", "time")


def events_of(data: str) -> list[str]:
    """Return the event files of a sample."""
    return sorted(map(str, Path(data, "log_data").rglob("*.json")))


def songs_of(data: str) -> Iterator[str]:
    """Yield each song of a sample as one line of JSON; a file may hold several, or be indented.

    Opening many small files is what is slow about them, whatever reads them.
    """
    scan = json.JSONDecoder().raw_decode
    for folder, _, names in os.walk(f"{data}/song_data"):
        for name in names:
            with open(f"{folder}/{name}", "rb", buffering=0) as file:
                text = file.read().decode().strip()
            while text:
                song, end = scan(text)
                yield json.dumps(song) if "\n" in text[:end] else text[:end]
                text = text[end:].lstrip()


def sources(data: str, folder: str) -> dict[str, str]:
    """Return where the models find a sample's events, and its songs once they are in one file."""
    return {"events": f"{data}/log_data/**/*.json", "songs": f"{folder}/songs.ndjson"}


def songs_in_one_file(data: str, folder: str) -> str:
    """Write the songs of a sample to one file, a line each, and return its path."""
    path = sources(data, folder)["songs"]
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in songs_of(data))
    return path


def tell(seconds: float, counts: tuple) -> None:
    """Print what a program took and built."""
    print(json.dumps({"seconds": seconds} | dict(zip(COUNTED, counts, strict=True))), flush=True)
