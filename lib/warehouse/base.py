"""The interface of a warehouse, whatever the engine, and what can go wrong with one.

Every statement lies in lib/sql as a template; what engines do differently is in sql/dialect.
Values are bound as `:name`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
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
TABLE = "BASE TABLE"  # what information_schema calls a table
MISSING = re.compile(r"(?:Table with name|relation) \"?(\w+)\"? does not exist")
PATIENCE = 600  # seconds that a load waits for another one to end


class Conflict(WarehouseError):
    """Another session changed the same rows at the same time; trying again can help."""


class ConnectionLost(WarehouseError):
    """The connection broke; what was asked last may or may not have been done."""


class OutOfRoom(WarehouseError):
    """A statement needs more memory, or room on disk, than there is."""


class Busy(WarehouseError):
    """Another load holds the warehouse."""


class Damaged(WarehouseError):
    """A database file, or the log of its last changes, that can't be read any more.

    `ours`: whether it is this project's to remove.
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
def _model() -> frozenset[tuple[str, str]]:
    """Return table and name of each column that a new warehouse has."""
    import duckdb

    with duckdb.connect() as new:
        for table in TABLES:
            for statement in render(f"schema/{table}", "duckdb"):
                new.execute(statement)
        (query,) = render("status/columns", "duckdb")
        return frozenset(new.execute(query).fetchall())


class Warehouse:
    """An open warehouse. Subclasses say how an engine runs one statement."""

    dialect: str
    copies = False  # whether it fetches files from S3 by itself
    label: str
    place: str  # what and where the database is, as a sentence begins
    another: str  # how to name another one
    removal: str  # how to remove what this project did not make
    schema: str  # where the tables are
    tables = (MARK, *TABLES)  # what this project makes on the engine
    closing: ExitStack

    def close(self) -> None:
        """Close every connection, so that another process can open a file."""
        self.closing.close()

    def run(self, name: str, identifiers: dict | None = None, **values) -> None:
        """Run the statements of sql/`name`.sql with `values` bound."""
        for statement in render(name, self.dialect, **(identifiers or {})):
            self._execute(statement, values)

    def frame(self, name: str, identifiers: dict | None = None, **values):
        """Return what the query sql/`name`.sql gives, as a DataFrame."""
        (statement,) = render(name, self.dialect, **(identifiers or {}))
        return self._frame(statement, values)

    def rows(self, name: str, identifiers: dict | None = None, **values) -> list[tuple]:
        """Return what the query sql/`name`.sql gives, as a list of tuples."""
        (statement,) = render(name, self.dialect, **(identifiers or {}))
        return [tuple(row) for row in self._execute(statement, values).fetchall()]

    def analysis(self, name: str, **values):
        """Return the result of sql/analysis/`name`.sql as a DataFrame; its `level` is '', all."""
        return self.frame(f"analysis/{name}", **{"level": "", **values})

    def create_schema(self) -> None:
        """Create the tables and views that are not there yet, all of them or none.

        Raises WarehouseError when what is there is an earlier version's, or not this project's.
        """
        with Warehouse.transaction(self):  # a load's own one locks a table that may be missing
            self.mark()
            self.require_model()
            for name in (*self.tables[1:], *VIEWS):
                self.run(f"schema/{name}")

    def mark(self) -> None:
        """Say in the database, unless it says so already, that this project made it.

        Raises WarehouseError when it holds something and has no mark.
        """
        if not self.has_mark():
            made = {"version": version("sparkify-dwh"), "created_at": f"{datetime.now(UTC):%F %T}"}
            self.run(f"schema/{MARK}", made)

    def has_mark(self) -> bool:
        """Tell whether this project made the database; False only when there is nothing in it.

        Raises WarehouseError when there is something and no mark, or a view in a table's place.
        """
        types = dict(self.rows("status/tables"))
        for name in self.tables:
            if types.get(name, TABLE) != TABLE:
                raise WarehouseError(
                    f"{self.place} has a {types[name].lower()} {name} where this project has a "
                    f"table, so it is not used; {self.another}."
                )
        if MARK not in types and (objects := self.rows("status/objects")):
            raise WarehouseError(self._why_not_ours(objects, types))
        return MARK in types

    def _why_not_ours(self, objects: list[tuple], types: Collection[str]) -> str:
        more = f" and {len(objects) - 1:,} more" if len(objects) > 1 else ""
        advice = self.another
        if {*LEDGER} <= {*types}:
            advice += f"; if an earlier version made it, {self.removal} yourself and load anew"
        return (
            f"{self.place} holds {_described(objects[0])}{more} and no mark of this project, so it "
            f"is left as it is; {advice}."
        )

    @property
    def data_kind(self) -> str | None:
        """The kind of data that was loaded, sample or own; None before the first load."""
        ((kind,),) = self.rows("status/data_kind")
        return kind

    @property
    def source(self) -> str:
        """What to name as the source of a figure."""
        return SOURCES[self.data_kind]

    def require_model(self) -> None:
        """Raise WarehouseError when a table lacks a column, as an earlier version made it."""
        found = set(self.rows("status/columns"))
        there = {table for table, _ in found}
        for table, column in sorted(_model() - found):
            if table in there:
                raise WarehouseError(
                    f"The table {table} has no column {column}: an earlier version made it. Remove "
                    "the warehouse with 05_teardown and load anew; the data files stay."
                )

    def row_counts(self, tables: Iterable[str] = TABLES) -> dict[str, int]:
        """Return the number of rows of each table, by name."""
        counted = self.rows("status/row_counts", {"tables": tables})
        return {table: count for _, table, count in counted}

    def coverage(self) -> tuple[int, int]:
        """Return the number of plays, and of those matched to a song of the catalogue."""
        ((plays, matched),) = self.rows("status/coverage")
        return plays, matched

    def summary(self) -> list[str]:
        """Return what was loaded, how much there is, and how new it is: a line each."""
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
        counts = self.row_counts()
        return [*lines, *(f"{table:<9} {counts[table]:,} rows" for table in STAR)]

    def require_plays(self, level: str = "") -> None:
        """Raise WarehouseError when there is nothing to analyse, nobody, or nothing of a level."""
        if not self.coverage()[0]:
            raise WarehouseError("The warehouse holds no plays; run 03_load first.")
        found = [name for (name,) in self.rows("status/levels")]
        if not found:
            raise WarehouseError(
                "No play is of a known listener: userId is empty in the events of all plays. The "
                "questions are about listeners; load logs that tell them apart."
            )
        if level and level not in found:
            raise WarehouseError(f"No play is of the level {level!r}; name {' or '.join(found)}.")

    def foreign_objects(self) -> list[str]:
        """Return kind and name of all in the database that is not of this project's model."""
        ours = {("table", self.schema, name) for name in self.tables}
        ours |= {("view", self.schema, name) for name in VIEWS}
        return [_described(found) for found in self.rows("status/objects") if found not in ours]

    @contextmanager
    def transaction(self, patience: float = PATIENCE) -> Iterator[None]:
        """Commit what is run within, all of it; or, when it fails in any way, none of it.

        `patience`: seconds to wait for another load to end, where an engine lets one begin.
        """
        try:
            self._execute("begin")
            yield
            self._execute("commit")
        except BaseException:
            with suppress(WarehouseError):  # a lost connection rolls back by itself
                self._execute("rollback")
            raise

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let all that is asked within see one state, whatever is committed meanwhile."""
        self._execute("begin")
        try:
            yield
        finally:
            with suppress(WarehouseError):
                self._execute("rollback")

    @staticmethod
    def words(error: Exception) -> str:
        """Return what an engine's driver says in an error."""
        return str(error)

    @staticmethod
    def why_refused(message: str) -> str:
        """Return an engine's message, or what to do when a table of the model is missing."""
        missing = MISSING.search(message)
        if missing and missing[1] in (MARK, "load_lock", *TABLES, *VIEWS):
            return f"The warehouse has no table {missing[1]}; run 02_schema first."
        return message

    def __repr__(self) -> str:
        return self.label


def _described(found: tuple[str, str, str]) -> str:
    kind, schema, name = found
    return f"the {kind} {schema}.{name}"
