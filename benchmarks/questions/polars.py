"""Polars, asked by SQL what DuckDB is asked, of frames in memory."""

import sys
from functools import cache

import polars as pl
from sqlglot import exp, parse_one

from benchmarks.questions import TABLES, serve, translated, whole


def milliseconds(node: exp.DateDiff) -> exp.Expression:
    """Return a difference of timestamps, which Polars keeps as microseconds since 1970."""
    until, since = (f"cast({side.sql()} as bigint)" for side in (node.this, node.expression))
    return parse_one(f"(({until} - {since}) // 1000)", read="duckdb")


WORDS = {
    exp.DateDiff: milliseconds,
    exp.Div: whole,
    exp.DayOfWeekIso: lambda node: parse_one(f"extract(isodow from {node.this.sql()})"),
}

if __name__ == "__main__":
    frames = {table: pl.read_parquet(f"{sys.argv[1]}/{table}.parquet") for table in TABLES}
    context = pl.SQLContext(frames)

    @cache
    def said(sql: str, **values: object) -> str:
        """Return DuckDB's words in PostgreSQL's, which are those that Polars knows."""
        return translated(sql, "duckdb", "postgres", values, WORDS)

    def ask(asked: dict) -> list[tuple]:
        """Return the rows."""
        answer = context.execute(said(asked["duckdb"], **asked["values"]), eager=False)
        return answer.collect(engine="streaming").rows()

    serve(ask)
