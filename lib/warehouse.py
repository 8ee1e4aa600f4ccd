"""The warehouse: `connect(settings)` gives one small interface, whatever the engine.

Every statement lies in lib/sql as a template; what engines do differently is in sql/dialect.
Values are bound as `:name`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

from lib import UserError
from lib.config import Settings

SQL = Path(__file__).parent / "sql"
STAGING = ("staging_events", "staging_songs")
STAR = ("users", "songs", "artists", "time", "songplays")
LEDGER = ("load_files", "load_rejects")
TABLES = (*STAGING, *STAR, *LEDGER)
VIEWS = ("song_catalogue",)
BOUND = re.compile(r"(?<![:\w]):([a-z_]\w*)")


class WarehouseError(UserError):
    """The warehouse can't be opened, or refused a statement."""


@cache
def _templates(dialect: str):
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    env = Environment(
        loader=FileSystemLoader(SQL),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 SQL, not HTML: names come from code, values are bound
    )
    env.globals["engine"] = env.get_template(f"dialect/{dialect}.sql").module
    shared = env.get_template("macros.sql").module
    env.globals |= {name: macro for name, macro in vars(shared).items() if callable(macro)}
    return env


def render(name: str, dialect: str, **identifiers) -> list[str]:
    """Return the statements of the file lib/sql/`name`.sql in the words of `dialect`.

    `identifiers`: what the template needs besides the macros; from code, never from data.
    """
    text = _templates(dialect).get_template(f"{name}.sql").render(identifiers)
    return [part.strip() for part in text.split(";\n") if part.strip()]


class Warehouse:
    """An open warehouse. Subclasses say how an engine runs one statement."""

    dialect: str
    label: str
    closing: ExitStack

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
        return self._execute(statement, values).fetchall()

    def analysis(self, name: str, **values):
        """Return the result of sql/analysis/`name`.sql as a DataFrame."""
        return self.frame(f"analysis/{name}", **values)

    def create_schema(self) -> None:
        """Create the tables and views that are not there yet."""
        for table in (*TABLES, *VIEWS):
            self.run(f"schema/{table}")

    def row_counts(self) -> dict[str, int]:
        """Return the number of rows of each table, by name."""
        counted = self.rows("status/row_counts", {"tables": TABLES})
        return {table: count for _, table, count in counted}

    def coverage(self) -> tuple[int, int]:
        """Return the number of plays, and of those matched to a song of the catalogue."""
        ((plays, matched),) = self.rows("status/coverage")
        return plays, matched

    def require_plays(self) -> None:
        """Raise WarehouseError when there is nothing to analyse."""
        if not self.coverage()[0]:
            raise WarehouseError("The warehouse holds no plays; run 03_load first.")

    def foreign_tables(self) -> list[str]:
        """Return the names of tables and views that are not of this project's model."""
        found = [name for (name,) in self.rows("status/tables")]
        return [name for name in found if name not in (*TABLES, *VIEWS)]

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what is run within, all of it; or, when it fails in any way, none of it."""
        self._execute("begin")
        try:
            yield
        except BaseException:
            self._execute("rollback")
            raise
        self._execute("commit")

    def __repr__(self) -> str:
        return self.label


class DuckDB(Warehouse):
    """The embedded warehouse: one DuckDB file, opened by one process at a time for writing."""

    dialect = "duckdb"
    url = "duckdb:///:memory:"

    def __init__(self, settings: Settings, read_only: bool = False):
        import duckdb

        self.file = settings.database
        self.closing = ExitStack()
        self.label = f"local · DuckDB {duckdb.__version__} · {shown(self.file)}"
        self._error = duckdb.Error
        if not _may_be_duckdb(self.file):
            raise WarehouseError(
                f"{self.file} is not a DuckDB database; name another file with the parameter "
                "database."
            )
        try:
            self.raw = duckdb.connect(
                str(self.file), read_only=read_only, config=_duckdb_settings(settings)
            )
        except duckdb.Error as error:
            raise WarehouseError(_why_not_open(self.file, str(error))) from None

    def cursor(self):
        """Return a DBAPI connection to the same open database, for SQLAlchemy."""
        return self.raw.cursor()

    def close(self) -> None:
        """Close the file, so that another process can open it."""
        self.closing.close()  # who was lent a cursor gives it back first
        self.raw.close()

    def _execute(self, statement: str, values: dict | None = None):
        named = set(BOUND.findall(statement)) & set(values or {})
        text = BOUND.sub(r"$\1", statement) if named else statement
        try:
            return self.raw.execute(text, {name: values[name] for name in named})
        except self._error as error:
            raise WarehouseError(_why_refused(str(error))) from error

    def _frame(self, statement: str, values: dict):
        return self._execute(statement, values).df()

    @contextmanager
    def lending(self, **frames) -> Iterator[None]:
        """Let statements read DataFrames by name (see the dialect's macro `frame`)."""
        for name, frame in frames.items():
            self.raw.register(name, frame)
        try:
            yield
        finally:
            for name in frames:
                self.raw.unregister(name)


def connect(settings: Settings, read_only: bool = False, create: bool = False) -> Warehouse:
    """Open the warehouse that `settings` name.

    `read_only`: for questions; several processes can then read one file at once.
    `create`: make the database file when it is missing.
    Raises WarehouseError when it is missing, is in use, or is something else.
    """
    if settings.dwh.target != "local":
        raise WarehouseError(
            f"The target {settings.dwh.target} can't be used in this version; use target local."
        )
    if not create and not settings.database.exists():
        raise WarehouseError(
            f"There is no warehouse at {settings.database}; run 01_provision first, "
            "or name another file with the parameter database."
        )
    return DuckDB(settings, read_only)


def shown(path: Path) -> str:
    """Return `path` as short as a reader at the project's folder can use it."""
    from lib import ROOT

    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def _duckdb_settings(settings: Settings) -> dict:
    """What makes DuckDB mean what Redshift means by the same words, and offline."""
    chosen = {
        "integer_division": True,
        "default_null_order": "NULLS_LAST_ON_ASC_FIRST_ON_DESC",
        "preserve_insertion_order": False,
        "autoinstall_known_extensions": False,
    }
    if settings.local.memory_limit:
        chosen["memory_limit"] = settings.local.memory_limit
    if settings.local.threads:
        chosen["threads"] = settings.local.threads
    return chosen


def _may_be_duckdb(file: Path) -> bool:
    """Tell a DuckDB file by its mark; DuckDB itself would also take a SQLite file."""
    if not file.is_file():
        return True
    try:
        with open(file, "rb") as opened:
            return opened.read(12)[8:] == b"DUCK"
    except OSError:
        return True  # DuckDB says why it can't be read


def _why_not_open(file: Path, message: str) -> str:
    if holder := re.search(r"held in (.+?) \(PID (\d+)\)", message):
        program, pid = Path(holder[1]).name, holder[2]
        return (
            f"{file} is in use by process {pid} ({program}); close that notebook's kernel "
            "or stop that program, then run this again."
        )
    if "different configuration" in message:
        return f"{file} is open already in this process; close it first: dwh.close()."
    return f"{file} can't be opened: {message.splitlines()[0]}"


def _why_refused(message: str) -> str:
    missing = re.search(r"Table with name (\w+) does not exist", message)
    if missing and missing[1] in TABLES:
        return f"The warehouse has no table {missing[1]}; run 02_schema first."
    return message
