"""PostgreSQL, asked what Redshift is asked."""

import io
import sys
from functools import cache

import pyarrow.parquet as pq
from pyarrow import csv, types

from benchmarks.peers.server import connected
from benchmarks.questions import TABLES, serve, translated

NUMBER_OF_TEXT = """
create function fnv_hash(text) returns bigint language sql immutable parallel safe
as 'select hashtextextended($1, 0)'
"""
TYPES = {
    types.is_string: "text",
    types.is_int32: "integer",
    types.is_int64: "bigint",
    types.is_floating: "double precision",
    types.is_boolean: "boolean",
    types.is_timestamp: "timestamp",
}


def fill(cursor, folder: str, table: str) -> None:
    """Create a table from its Parquet file."""
    file = pq.ParquetFile(f"{folder}/{table}.parquet")
    columns = [
        f"{field.name} {next(name for fits, name in TYPES.items() if fits(field.type))}"
        for field in file.schema_arrow
    ]
    cursor.execute(f"create table {table} ({', '.join(columns)})")
    for batch in file.iter_batches():
        text = io.BytesIO()
        csv.write_csv(batch, text, csv.WriteOptions(include_header=False))
        text.seek(0)
        cursor.copy_expert(f"copy {table} from stdin with (format csv)", text)


if __name__ == "__main__":
    with connected() as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        for table in TABLES:
            fill(cursor, sys.argv[1], table)
        cursor.execute("vacuum analyze")
        cursor.execute(NUMBER_OF_TEXT)

        @cache
        def said(sql: str, **values: object) -> str:
            """Return Redshift's words in PostgreSQL's."""
            return translated(sql, "redshift", "postgres", values)

        def ask(asked: dict) -> list[tuple]:
            """Return the rows."""
            cursor.execute(said(asked["redshift"], **asked["values"]))
            return cursor.fetchall()

        serve(ask)
