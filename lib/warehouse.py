"""The warehouse: `connect(settings)` gives one small interface, whatever the engine.

Every statement lies in lib/sql as a template; what engines do differently is in sql/dialect.
Values are bound as `:name`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from lib import UserError
from lib.config import SOURCES, Settings

if TYPE_CHECKING:
    from lib.source import Batch

SQL = Path(__file__).parent / "sql"
STAGING = ("staging_events", "staging_songs")
STAR = ("users", "songs", "artists", "time", "songplays")
LEDGER = ("load_files", "load_rejects")
TABLES = (*STAGING, *STAR, *LEDGER)
VIEWS = ("song_catalogue", "plays", "events")
MARK = "warehouse_mark"
OPEN_HERE = "is open already in this process"
TABLE = "BASE TABLE"  # what information_schema calls a table
MISSING = re.compile(r"(?:Table with name|relation) \"?(\w+)\"? does not exist")
REMOVE = "python -m lib.run --only 05 --teardown, with the options that you ran before"
PATIENCE = 600  # seconds that a load waits for another one to end
PROBES = 200  # parses of pieces of a bundle, to find its bad files
# MB of memory for DuckDB: 16 threads load a million events with 96 each, and run out of 48 each.
EACH_THREAD, LEAST_MEMORY = 192, 768
BOUND = re.compile(r"(?<![:\w]):([a-z_]\w*)")


class WarehouseError(UserError):
    """The warehouse can't be opened, or refused a statement."""


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

    `bad`: the parts with records that it can't read, and among which of their lines, from 0,
    these are; none when that isn't known.
    """

    def __init__(self, message: str, bad: Mapping[str, Collection[range]] | None = None):
        super().__init__(message)
        self.bad = bad or {}


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
    env.filters |= {"snake_case": snake_case, "literal": literal}
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


@cache
def _model() -> frozenset[tuple[str, str]]:
    """Return table and name of each column that a new warehouse has."""
    import duckdb

    with duckdb.connect() as new:
        for table in TABLES:
            for statement in render(f"schema/{table}", DuckDB.dialect):
                new.execute(statement)
        (query,) = render("status/columns", DuckDB.dialect)
        return frozenset(new.execute(query).fetchall())


def snake_case(field: str) -> str:
    """Return a JSON field's name as its column's: firstName is first_name."""
    return re.sub(r"([A-Z])", r"_\1", field).lower()


def columns_of(fields: Iterable[str]) -> list[str]:
    """Return the staging columns of a kind's JSON fields, in their order."""
    return [snake_case(field) for field in fields]


def literal(text: str) -> str:
    """Return a text as an SQL literal, for the statements that take no bound values."""
    if "\\" in text or "\0" in text:
        raise WarehouseError(f"{text!r} can't be named in a statement: it holds \\ or NUL.")
    return "'" + text.replace("'", "''") + "'"


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


class DuckDB(Warehouse):
    """The embedded warehouse: one DuckDB file, opened by one process at a time for writing."""

    dialect = "duckdb"
    url = "duckdb:///:memory:"

    another = "name another file with the parameter database"
    removal = "delete the file"
    schema = "main"

    def __init__(self, settings: Settings, read_only: bool = False, writes: Path | None = None):
        import duckdb

        self.settings, self.file = settings, settings.database
        self.place = str(self.file)
        self.closing = ExitStack()
        self.label = f"local · DuckDB {duckdb.__version__} · {shown(self.file)}"
        self._error = duckdb.Error
        if not _may_be_duckdb(self.file):
            raise WarehouseError(f"{self.file} is not a DuckDB database; {self.another}.")
        try:
            self.raw = duckdb.connect(
                str(self.file), read_only=read_only, config=_duckdb_settings(settings)
            )
            self.closing.callback(self.raw.close)  # who is lent a cursor gives it back first
            if not settings.local.memory_limit:
                self.raw.execute(f"set memory_limit = '{_memory_for(self.raw)} MB'")
            if read_only:  # else a view could bring in any file of this machine
                if writes:
                    self.raw.execute(f"set allowed_directories = [{literal(str(writes))}]")
                self.raw.execute("set enable_external_access = false")
        except duckdb.Error as error:
            self._refuse_damage(str(error))
            raise WarehouseError(_why_not_open(self.file, str(error))) from None

    def cursor(self):
        """Return a DBAPI connection to the same open database, for SQLAlchemy."""
        return self.raw.cursor()

    def _execute(self, statement: str, values: dict | None = None, connection=None):
        named = set(BOUND.findall(statement)) & set(values or {})
        text = BOUND.sub(r"$\1", statement) if named else statement
        try:
            return (connection or self.raw).execute(text, {name: values[name] for name in named})
        except self._error as error:
            self._refuse_damage(str(error))
            raise self._refused(error) from error
        except UnicodeDecodeError as error:  # DuckDB's message ends amid a character of a value
            raise WarehouseError(error.object.decode(errors="replace")) from error
        except RuntimeError as error:
            if str(error) == "Query interrupted":  # DuckDB's word for Ctrl-C
                raise KeyboardInterrupt from None
            raise

    def _refuse_damage(self, message: str) -> None:
        """Raise Damaged when DuckDB's error is about the file, or the log beside it, itself."""
        short = f'Could not read enough bytes from file "{self.file}"'
        for damage in ("Corrupt database file", "Failure while replaying WAL", short):
            if message.startswith(f"IO Error: {damage}"):
                raise _damaged(self.settings, message)

    def _refused(self, error: Exception) -> WarehouseError:
        """Return DuckDB's error as ours: its words, or what to do when there is no room."""
        import duckdb

        said = str(error)
        if isinstance(error, duckdb.OutOfMemoryException):
            return OutOfRoom(
                f"DuckDB is out of memory, or of room beside {self.file} for what does not fit it "
                f"({said.splitlines()[0]}); make room, raise [LOCAL] MEMORY_LIMIT, or lower "
                "[LOCAL] THREADS."
            )
        if "disabled by configuration" in said:
            said = f"{said.splitlines()[0]}; a warehouse opened for questions reads no other file."
        kind = OutOfRoom if "Could not write" in said else WarehouseError
        return kind(self.why_refused(said))

    def _frame(self, statement: str, values: dict):
        return self._execute(statement, values).df()

    @property
    def home(self) -> str:
        """Catalogue and schema."""
        ((catalogue,),) = self._execute("select current_database()").fetchall()
        return f"{_quoted(catalogue)}.{self.schema}"

    def stage(self, batch: Batch, batch_id: int) -> dict[str, int]:
        """Parse the batch's parts into its staging table; the batch knows their records.

        Raises CopyError for the parts that can't be parsed.
        """
        fields, name = {"fields": batch.kind.fields}, f"load/stage_{batch.kind.name}"
        try:
            self.run(name, fields, files=batch.parts, batch_id=batch_id)
        except OutOfRoom:
            raise
        except WarehouseError as error:
            (statement,) = render(name, self.dialect, **fields)
            bad = [part for part in batch.parts if not self._parses(statement, part)]
            where = {part: self._bad_lines(statement, batch, part) for part in bad}
            raise CopyError(str(error), where) from error
        return {}

    def _bad_lines(self, statement: str, batch: Batch, part: str) -> list[range]:
        """Find the lines of a part of several files that can't be parsed, by halves."""
        if len(batch.holds[part]) == 1:
            return []
        lines, piece = Path(part).read_bytes().split(b"\n"), Path(f"{part}.piece")
        doubted, bad, tries = [range(len(lines))], [], 0
        while doubted:
            span = doubted.pop()
            if len(span) == 1 or tries > PROBES:
                bad.append(span)
                continue
            middle = (span.start + span.stop) // 2
            for half in range(span.start, middle), range(middle, span.stop):
                piece.write_bytes(b"\n".join(lines[half.start : half.stop]))
                tries += 1
                if not self._parses(statement, str(piece)):
                    doubted.append(half)
        return bad

    def _parses(self, statement: str, part: str) -> bool:
        """Try to stage one part by itself, in a transaction of its own that is taken back."""
        with self.raw.cursor() as alone:
            alone.begin()
            try:
                self._execute(statement, {"files": [part], "batch_id": 0}, alone)
            except WarehouseError:
                return False
            finally:
                with suppress(self._error):
                    alone.rollback()
        return True

    def append(self, table: str, frame) -> None:
        """Add a DataFrame's rows to a table, its columns by their names."""
        self.raw.register("appended", frame)
        try:
            self.run("load/append", {"table": table, "columns": list(frame.columns)})
        finally:
            self.raw.unregister("appended")


def connect(
    settings: Settings,
    read_only: bool = False,
    create: bool = False,
    writes: Path | None = None,
) -> Warehouse:
    """Open the warehouse that `settings` name.

    `read_only`: for questions; several processes can then read one file at once, and what they ask
    reads no other file; Redshift is asked as a user that may only read. `writes`: the only folder
    that they may write to, and read.
    `create`: make the database file when it is missing.
    Raises WarehouseError when it is missing, is in use, or is something else.
    """
    if settings.dwh.target == "redshift":
        from lib.redshift import Redshift

        opened: Warehouse = Redshift(settings, read_only)
    elif create or settings.database.exists():
        if not read_only and Path(f"{settings.database}.wal").exists():
            _refuse_stranger(settings)  # or its log would be merged
        opened = DuckDB(settings, read_only, writes)
    else:
        raise WarehouseError(
            f"There is no warehouse at {settings.database}; run 01_provision first, "
            f"or {DuckDB.another}."
        )
    try:
        is_ours = opened.has_mark()
    except BaseException:
        opened.close()
        raise
    if is_ours and isinstance(opened, DuckDB) and not read_only:
        _remove_spilled(opened.file)
    return opened


def _refuse_stranger(settings: Settings) -> None:
    """Raise WarehouseError when a database that is not open here is none of this project's."""
    try:
        connect(settings, read_only=True).close()
    except WarehouseError as error:
        if OPEN_HERE not in str(error):
            raise


def _described(found: tuple[str, str, str]) -> str:
    kind, schema, name = found
    return f"the {kind} {schema}.{name}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


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
        "storage_compatibility_version": "v1.3.0",  # packs text better and in half the time
        # That way (dict_fsst) is the smallest here; trying the others takes a quarter of the time.
        "disabled_compression_methods": "fsst,dictionary,zstd",
    }
    if settings.local.memory_limit:
        chosen["memory_limit"] = settings.local.memory_limit
    if settings.local.threads:
        chosen["threads"] = settings.local.threads
    return chosen


def _memory_for(raw) -> int:
    """Return the MB of memory that an open DuckDB's threads need, at most what is its own limit."""
    limits = "select current_setting('memory_limit'), current_setting('threads')"
    ((own, threads),) = raw.execute(limits).fetchall()
    number, unit = own.split()
    most = float(number) * 1.024**2 * 1024 ** (["MiB", "GiB", "TiB"].index(unit))
    return int(min(most, max(LEAST_MEMORY, EACH_THREAD * threads)))


def _remove_spilled(file: Path) -> None:
    """Remove what a killed process spilled beside a database; who may write to it is alone."""
    for spilled in Path(f"{file}.tmp").glob("duckdb_temp_*"):
        with suppress(OSError):
            spilled.unlink()


def _may_be_duckdb(file: Path) -> bool:
    """Tell a DuckDB file by its mark; DuckDB itself would also take a SQLite file."""
    if not file.is_file():
        return True
    try:
        with open(file, "rb") as opened:
            return opened.read(12)[8:] == b"DUCK"
    except OSError:
        return True  # DuckDB says why it can't be read


def _damaged(settings: Settings, message: str) -> Damaged:
    """Return what is damaged, what is lost by that, and how to go on."""
    file, log = settings.database, Path(f"{settings.database}.wal")
    reason = message.splitlines()[0]
    if "replaying WAL" in message:
        what = f"{log} is damaged, and with it what was loaded into {file.name} last"
        ours = settings.is_default_database or _is_ours_without_log(settings)
    else:
        what = f"{file} is damaged, and with it what was loaded into it"
        ours = settings.is_default_database
    remedy = f"remove it with 05_teardown ({REMOVE})" if ours else f"delete {file} yourself"
    return Damaged(f"{what} ({reason}); {remedy} and load anew, the data files stay.", ours)


def _is_ours_without_log(settings: Settings) -> bool:
    """Tell whether a database file, read without the log beside it, is wholly this project's."""
    try:
        with TemporaryDirectory(dir=settings.database.parent) as scratch:
            link = Path(scratch) / settings.database.name
            link.hardlink_to(settings.database)
            alone = replace(settings, local=replace(settings.local, database=str(link)))
            with closing(DuckDB(alone, read_only=True)) as opened:
                return opened.has_mark() and not opened.foreign_objects()
    except (OSError, WarehouseError):  # no links here, or the file is damaged too
        return False


def _why_not_open(file: Path, message: str) -> str:
    if holder := re.search(r"held in (.+?) \(PID (\d+)\)", message):
        program, pid = Path(holder[1]).name, holder[2]
        return (
            f"{file} is in use by process {pid} ({program}); close that notebook's kernel "
            "or stop that program, then run this again."
        )
    if "different configuration" in message:
        return f"{file} {OPEN_HERE}; close it first: dwh.close()."
    return f"{file} can't be opened: {message.splitlines()[0]}"
