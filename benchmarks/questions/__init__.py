"""Who answers the questions of lib/sql/analysis: one program an engine, asked one at a time.

Each is run as `python -m benchmarks.questions.NAME FOLDER`, with the tables in FOLDER as
`star.duckdb` and as Parquet. It reads a question a line from its input, as JSON, and answers with
its seconds and a digest of the rows, or with why it can't. Reading the tables is not timed.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterable
from datetime import date, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlglot import exp

TABLES = ("events", "songplays", "users", "songs", "artists", "time")


def plain(value: object) -> str:
    """Return a value as text, the same for the same value of any engine."""
    if value is None or value != value:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat(timespec="milliseconds")
    if isinstance(value, date):
        return f"{value.isoformat()}T00:00:00.000"
    return f"{float(value):.9g}"


def digest(rows: Iterable[tuple]) -> str:
    """Return what tells two results apart: all values, in any order of the rows."""
    lines = sorted("\t".join(map(plain, row)) for row in rows)
    mark = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return f"{len(lines)} rows, {mark[:12]}"


def serve(ask: Callable[[dict], list[tuple]]) -> None:
    """Answer each question that comes in; `ask` takes its name, sql and values."""
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        try:
            began = time.perf_counter()
            rows = ask(question)
            told = {"seconds": time.perf_counter() - began, "digest": digest(rows)}
        except Exception as error:  # noqa: BLE001 whatever an engine raises is the answer
            told = {"error": " ".join(str(error).split())[:200] or type(error).__name__}
        print(json.dumps(told), flush=True)


def translated(sql: str, read: str, write: str, values: dict, words: dict | None = None) -> str:
    """Return a query in another dialect, its `:name` bound.

    `words`: for a type of expression that the dialect lacks, what makes it another one.
    """
    import sqlglot
    from sqlglot import exp

    tree = sqlglot.parse_one(sql, read=read)
    bound = {exp.Placeholder: lambda node: exp.convert(values[node.name])}
    for kind, other in (bound | (words or {})).items():
        tree = tree.transform(lambda node, k=kind, o=other: o(node) if type(node) is k else node)
    return tree.sql(write)


def whole(node: exp.Div) -> exp.Expression:
    """Return a division as one of whole numbers, which all are that divide by one."""
    from sqlglot import exp

    by_number = isinstance(node.expression, exp.Literal) and node.expression.is_int
    doubles = (cast for cast in node.this.find_all(exp.Cast) if cast.is_type("double"))
    if not by_number or any(doubles):
        return node
    return exp.IntDiv(this=node.this, expression=node.expression)
