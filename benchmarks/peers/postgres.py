"""PostgreSQL by COPY and SQL, on a server that is running already."""

import io
import sys
import time
from pathlib import Path

from benchmarks.peers import COUNTS, events_of, songs_of, tell
from benchmarks.peers.server import connected

# One JSON object a row: quote and delimiter are characters that JSON has to escape.
COPY = r"copy {} from stdin with (format csv, quote e'\x01', delimiter e'\x02')"
SQL = Path(__file__).with_suffix(".sql").read_text()


def build(connection, data: str) -> None:
    """Build the star in one transaction, so that what is new needs no log."""
    with connection, connection.cursor() as cursor:
        for table in ("raw_events", "raw_songs"):
            cursor.execute(f"create unlogged table {table} (line text)")
        for path in events_of(data):
            with open(path, "rb") as file:
                cursor.copy_expert(COPY.format("raw_events"), file)
        cursor.execute("analyze raw_events")
        songs = io.StringIO("\n".join(songs_of(data)))
        cursor.copy_expert(COPY.format("raw_songs"), songs)
        for statement in SQL.split(";\n"):
            if statement.strip():
                cursor.execute(statement)


if __name__ == "__main__":
    data, _ = sys.argv[1:]
    with connected() as connection:
        began = time.perf_counter()
        build(connection, data)
        took = time.perf_counter() - began
        with connection.cursor() as cursor:
            cursor.execute(COUNTS)
            tell(took, cursor.fetchone())
