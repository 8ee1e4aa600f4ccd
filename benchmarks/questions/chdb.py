"""chDB, asked what DuckDB is asked."""

import sys
import tempfile
from functools import cache

from chdb import session
from sqlglot import exp

from benchmarks.questions import TABLES, serve, translated, whole

# What makes it mean what standard SQL means by the same words.
SETTINGS = """
settings
    join_use_nulls = 1,
    prefer_column_name_to_alias = 1,
    allow_lossy_numeric_supertype = 1
"""
WORDS = {
    exp.Div: whole,
    # Else it is translated as one that looks no further than the row itself.
    exp.Lead: lambda node: exp.Anonymous(this="lead", expressions=[node.this]),
}
FUNCTIONS = (
    "create function SPLIT_PART as (text, mark, part) -> splitByString(mark, text)[part]",
    "create function DAYOFWEEK_ISO as (day) -> toDayOfWeek(day)",
    "create function hash as (text) -> cityHash64(text)",
)

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as own:
        opened = session.Session(f"{own}/star")
        opened.query("create database star engine = Atomic")
        opened.query("use star")
        for function in FUNCTIONS:
            opened.query(function)
        for table in TABLES:
            rows = f"select * from file('{sys.argv[1]}/{table}.parquet', Parquet)"
            opened.query(f"create table {table} engine = MergeTree order by tuple() as {rows}")

        @cache
        def said(sql: str, **values: object) -> str:
            """Return DuckDB's words in ClickHouse's."""
            return f"{translated(sql, 'duckdb', 'clickhouse', values, WORDS)} {SETTINGS}"

        def ask(asked: dict) -> list[tuple]:
            """Return the rows."""
            table = opened.query(said(asked["duckdb"], **asked["values"]), "ArrowTable")
            return [*zip(*(column.to_pylist() for column in table.columns), strict=True)]

        serve(ask)
