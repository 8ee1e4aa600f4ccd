"""The interface of a warehouse, the same for every engine, and the errors it raises.

Every statement is a template of lib/sql; what differs between engines is in sql/dialect. Values are
bound as `:name`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version

from lib.config import SOURCES
from lib.warehouse.templates import WarehouseError, render

STAGING = ("staging_events", "staging_songs")
STAR = ("users", "songs", "artists", "time", "songplays")
LEDGER = ("load_files", "load_rejects")
TABLES = (*STAGING, *STAR, *LEDGER)
VIEWS = ("song_catalogue", "plays", "events")
MARK = "warehouse_mark"
TABLE = "BASE TABLE"  # a table's type in information_schema
MISSING = re.compile(r"(?:Table with name|relation) \"?(\w+)\"? does not exist")
PATIENCE = 600  # seconds to wait for another load to end


class Conflict(WarehouseError):
    """Another session changed the same rows at the same time; a retry can succeed."""


class ConnectionLost(WarehouseError):
    """The connection broke; the last statement may or may not have run."""


class OutOfRoom(WarehouseError):
    """A statement ran out of memory or of disk space."""


class Busy(WarehouseError):
    """Another load is running."""


class Damaged(WarehouseError):
    """A database file, or the log of its last changes, is corrupt.

    `ours`: whether this project may delete it.
    """

    def __init__(self, message: str, ours: bool):
        super().__init__(message)
        self.ours = ours


class CopyError(WarehouseError):
    """What an engine could not copy, and why.

    `has_bad_records`: it refused a record, and did not only fail to read a file. `bad_parts`:
    the parts that hold such records, when it names them.
    """

    def __init__(self, message: str, has_bad_records: bool = False, bad_parts: Iterable[str] = ()):
        super().__init__(message)
        self.has_bad_records, self.bad_parts = has_bad_records, set(bad_parts)


@cache
def _list_model_columns() -> frozenset[tuple[str, str]]:
    """Return (table, column) for every column of a new warehouse."""
    import duckdb

    with duckdb.connect() as new:
        for table in TABLES:
            for statement in render(f"schema/{table}", "duckdb"):
                new.execute(statement)
        (query,) = render("status/columns", "duckdb")
        return frozenset((table, name) for table, name, _ in new.execute(query).fetchall())


class Warehouse:
    """An open warehouse. A subclass defines how its engine runs one statement."""

    dialect: str
    copies = False  # whether the engine reads files from S3 itself
    label: str  # target, engine and place, for the header of a notebook
    place: str  # the database, as the subject of a sentence
    another: str  # how to choose another database
    schema: str  # the schema of the tables
    tables = (MARK, *TABLES)  # the tables that this project creates
    closing: ExitStack

    def close(self) -> None:
        """Close every connection, so that another process can open the file."""
        self.closing.close()

    def run(self, name: str, identifiers: dict | None = None, **values) -> None:
        """Run the statements of lib/sql/`name`.sql with `values` bound."""
        for statement in render(name, self.dialect, **(identifiers or {})):
            self._execute(statement, values)

    def frame(self, name: str, identifiers: dict | None = None, **values):
        """Run the query lib/sql/`name`.sql and return its result as a DataFrame."""
        (statement,) = render(name, self.dialect, **(identifiers or {}))
        return self._frame(statement, values)

    def rows(self, name: str, identifiers: dict | None = None, **values) -> list[tuple]:
        """Run the query lib/sql/`name`.sql and return its result as a list of tuples."""
        (statement,) = render(name, self.dialect, **(identifiers or {}))
        return [tuple(row) for row in self._execute(statement, values).fetchall()]

    def analysis(self, name: str, **values):
        """Run sql/analysis/`name`.sql and return a DataFrame; `level` is '' for all levels."""
        return self.frame(f"analysis/{name}", **{"level": "", **values})

    def create_schema(self) -> None:
        """Create the tables and views that are missing, in one transaction.

        Raises WarehouseError when an earlier version or somebody else created what is there.
        """
        with Warehouse.transaction(self):  # a load's transaction locks a table that may be missing
            self.mark()
            self.require_model()
            for name in (*self.tables[1:], *VIEWS):
                self.run(f"schema/{name}")

    def mark(self) -> None:
        """Record in the database that this project created it, unless that is recorded already."""
        if not self.has_mark():
            made = {"version": version("sparkify-dwh"), "created_at": f"{datetime.now(UTC):%F %T}"}
            self.run(f"schema/{MARK}", made)

    def has_mark(self) -> bool:
        """Return whether this project created the database; False only for an empty one.

        Raises WarehouseError when it has objects and no mark, or a view with a table's name, which
        could read any file.
        """
        types = dict(self.rows("status/tables"))
        for name in self.tables:
            if types.get(name, TABLE) != TABLE:
                raise WarehouseError(
                    f"{self.place} has a {types[name].lower()} {name} where this project has a "
                    f"table, so it is not used; {self.another}."
                )
        if MARK not in types and (objects := self.rows("status/objects")):
            raise WarehouseError(self._explain_no_mark(objects))
        return MARK in types

    def _explain_no_mark(self, objects: list[tuple]) -> str:
        more = f" and {len(objects) - 1:,} more" if len(objects) > 1 else ""
        return (
            f"{self.place} holds {_describe(*objects[0])}{more} and no mark of this project, so it "
            f"is left as it is; {self.another}."
        )

    @property
    def data_kind(self) -> str | None:
        """The kind of data that was loaded, sample or own; None before the first load."""
        ((kind,),) = self.rows("status/data_kind")
        return kind

    @property
    def source(self) -> str:
        """The source to name below a figure."""
        return SOURCES[self.data_kind]

    def require_model(self) -> None:
        """Raise WarehouseError when a table is not as this version creates it.

        What others have added is left alone, except for a column that every row must fill.
        """
        model = _list_model_columns()
        columns = {(table, name): nullable for table, name, nullable in self.rows("status/columns")}
        existing = {table for table, _ in columns} & {*TABLES}
        for table, column in sorted(model ^ columns.keys()):
            fault = "has no" if (table, column) in model else "requires a"
            if table in existing and columns.get((table, column)) != "YES":
                raise WarehouseError(
                    f"The table {table} {fault} column {column}: an earlier version made it. "
                    "Remove the warehouse with 05_teardown and load anew; the data files stay."
                )

    def count_rows(self, tables: Iterable[str] = TABLES) -> dict[str, int]:
        """Return the number of rows of each table, by name."""
        return {name: rows for _, name, rows in self.rows("status/row_counts", {"tables": tables})}

    def coverage(self) -> tuple[int, int]:
        """Return the number of plays, and of those matched to a song of the catalogue."""
        return self.rows("status/coverage")[0]

    def summary(self) -> list[str]:
        """Return lines on what was loaded, when, and how many rows each table has."""
        loads = self.rows("status/loads")
        if not loads:
            return ["nothing was loaded yet"]
        batch, at = max((batch, at) for *_, batch, at in loads)
        lines = [f"last load {batch}, {at:%Y-%m-%d %H:%M} UTC", f"data      {self.source}"]
        for kind, files, size, rows, rejects, *_ in loads:
            left_out = f", {rejects:,} rejects" if rejects else ""
            lines.append(f"{kind:<9} {rows:,} from {files:,} files, {size / 1e6:,.1f} MB{left_out}")
        ((first, last),) = self.rows("status/freshness")
        if first:
            lines.append(f"events of {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC")
        counts = self.count_rows(STAR)
        return [*lines, *(f"{table:<9} {counts[table]:,} rows" for table in STAR)]

    def require_plays(self, level: str = "") -> None:
        """Raise WarehouseError when there is no play to analyse: at all, of a user, of `level`."""
        if not self.coverage()[0]:
            raise WarehouseError("The warehouse holds no plays; run 03_load first.")
        levels = [name for (name,) in self.rows("status/levels")]
        if not levels:
            raise WarehouseError(
                "No play is of a known listener: userId is empty in the events of all plays. The "
                "questions are about listeners; load logs that tell them apart."
            )
        if level and level not in levels:
            raise WarehouseError(f"No play is of the level {level!r}; name {' or '.join(levels)}.")

    def list_foreign_objects(self) -> list[str]:
        """Return kind and name of everything in the database that this project did not create."""
        ours = {("table", self.schema, name) for name in self.tables}
        ours |= {("view", self.schema, name) for name in VIEWS}
        return [_describe(*each) for each in self.rows("status/objects") if each not in ours]

    @contextmanager
    def transaction(self, patience: float = PATIENCE) -> Iterator[None]:
        """Commit what is run within; roll all of it back when anything fails.

        `patience`: seconds to wait for another load to end, on an engine where one can be running.
        """
        try:
            self._execute("begin")
            yield
            self._execute("commit")
        except BaseException:
            with suppress(WarehouseError):  # a lost connection rolls back by itself
                self._execute("rollback")
            raise

    @staticmethod
    def explain_refusal(message: str) -> str:
        """Return an engine's message, or what to do when a table of the model is missing."""
        missing = MISSING.search(message)
        if missing and missing[1] in (MARK, "load_lock", *TABLES, *VIEWS):
            return f"The warehouse has no table {missing[1]}; run 02_schema first."
        return message

    def __repr__(self) -> str:
        return self.label


def _describe(kind: str, schema: str, name: str) -> str:
    return f"the {kind} {schema}.{name}"
