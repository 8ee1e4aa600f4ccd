"""PostgreSQL: COPY of whole lines, then the models of the dbt project, on a server of its own."""

import io
from pathlib import Path

import psycopg2

from benchmarks import peers
from tests.standin.postgres import Server

# As PostgreSQL's manual advises for a bulk load ("Populating a Database").
SETTINGS = {"listen_addresses": "", "shared_buffers": "2GB", "work_mem": "512MB"}
SETTINGS |= {"wal_level": "minimal", "max_wal_senders": "0", "max_wal_size": "8GB"}
PREPARED = """
create unlogged table raw_events (line text);
create unlogged table raw_songs (line text);
create function epoch_ms(ms bigint) returns timestamp language sql immutable
return timestamp 'epoch' + ms * interval '1 millisecond'
"""
# One JSON object a row: quote and delimiter are characters that JSON has to escape.
COPY = r"copy {} from stdin with (format csv, quote e'\x01', delimiter e'\x02')"


def prepare(data: str, folder: str) -> tuple:
    """Start a server, which ends with this process, and connect to it."""
    server = Server(SETTINGS)
    connection = psycopg2.connect(host=str(server.folder), user="postgres", dbname="postgres")
    return server, connection, data


def name_source(table: str, columns: dict[str, str]) -> str:
    """Return what SQL reads the fields of the JSON lines in a table from."""
    typed = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
    return f"{table}, json_to_record(cast(line as json)) as record({typed})"


def build(server: Server, connection, data: str) -> tuple:
    """Build the star in one transaction, so that new tables need no write-ahead log."""
    with connection, connection.cursor() as cursor:
        cursor.execute(PREPARED)
        for path in Path(data, "log_data").rglob("*.json"):
            with path.open("rb") as file:
                cursor.copy_expert(COPY.format("raw_events"), file)
        songs = io.StringIO("\n".join(peers.read_songs(data)))
        cursor.copy_expert(COPY.format("raw_songs"), songs)
        events = name_source("raw_events", peers.EVENTS)
        sources = {"events": events, "songs": name_source("raw_songs", peers.SONGS)}
        for model, query in peers.render_models(sources).items():
            kind = "unlogged table" if model in peers.STAGING else "table"
            cursor.execute(f"create {kind} {model} as {query}")
            cursor.execute(f"analyze {model}")
    return server, connection


def count(built: tuple) -> dict[str, int]:
    """Count what was built."""
    with built[1].cursor() as cursor:
        cursor.execute(peers.COUNTS)
        return peers.read_row(cursor)
