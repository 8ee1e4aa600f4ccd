"""DuckDB as a warehouse: one file, in process."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from lib import shorten_path
from lib.config import Settings
from lib.warehouse.base import CopyError, Damaged, OutOfRoom, Warehouse
from lib.warehouse.templates import BOUND, WarehouseError, literal

OPEN_HERE = "is open already in this process"
REMOVE = "python -m lib.run --only 05 --teardown, with the options that you ran before"
# MB of memory for DuckDB: 16 threads load a million events with 96 each, and run out of 48 each.
EACH_THREAD, LEAST_MEMORY = 192, 768


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
        self.label = f"local · DuckDB {duckdb.__version__} · {shorten_path(self.file)}"
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

    def stage(self, kind: str, fields: Mapping, parts: list[str], batch_id: int) -> dict[str, int]:
        """Read newline-delimited files into a kind's staging table; return no counts of records.

        `fields`: each JSON key, and the sort of its number or the most bytes of its text.
        Raises CopyError when a record can't be read.
        """
        try:
            self.run(f"load/stage_{kind}", {"fields": fields}, files=parts, batch_id=batch_id)
        except (Damaged, OutOfRoom):
            raise
        except WarehouseError as error:
            raise CopyError(str(error), has_bad_records=True) from error
        return {}

    def append(self, table: str, frame) -> None:
        """Add a DataFrame's rows to a table, its columns by their names."""
        self.raw.register("appended", frame)
        try:
            self.run("load/append", {"table": table, "columns": list(frame.columns)})
        finally:
            self.raw.unregister("appended")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


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


def remove_spilled(file: Path) -> None:
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
