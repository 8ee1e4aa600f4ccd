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
OPTIONS = {  # the same SQL means what it means on Redshift; nothing is fetched from the network
    "integer_division": True,
    "default_null_order": "NULLS_LAST_ON_ASC_FIRST_ON_DESC",
    "preserve_insertion_order": False,
    "autoinstall_known_extensions": False,
}


class DuckDB(Warehouse):
    """A DuckDB file: one process at a time opens it to write, or several to read."""

    dialect = "duckdb"
    another = "name another file with the parameter database"
    schema = "main"

    def __init__(self, settings: Settings, read_only: bool = False, writes: Path | None = None):
        import duckdb

        self.settings, self.file, self.place = settings, settings.database, str(settings.database)
        self.closing, self._error = ExitStack(), duckdb.Error
        self.label = f"local · DuckDB {duckdb.__version__} · {shorten_path(self.file)}"
        if not _is_duckdb_file(self.file):
            raise WarehouseError(f"{self.file} is not a DuckDB database; {self.another}.")
        local = settings.local
        chosen = {"memory_limit": local.memory_limit, "threads": local.threads}
        options = OPTIONS | {name: value for name, value in chosen.items() if value}
        try:
            self.raw = duckdb.connect(str(self.file), read_only=read_only, config=options)
            self.closing.callback(self.raw.close)  # last, after the cursors that others hold
            if not local.memory_limit:
                self.raw.execute(f"set memory_limit = '{_choose_memory(self.raw)} MB'")
            if read_only:  # a view in the file could otherwise read any file of this machine
                if writes:
                    self.raw.execute(f"set allowed_directories = [{literal(str(writes))}]")
                self.raw.execute("set enable_external_access = false")
        except duckdb.Error as error:
            self._check_damage(str(error))
            raise WarehouseError(_explain_failure(self.file, str(error))) from None

    def cursor(self):
        """Open a further connection to the same database, with transactions of its own."""
        return self.raw.cursor()

    def _execute(self, statement: str, values: dict | None = None, connection=None):
        named = set(BOUND.findall(statement)) & set(values or {})
        text = BOUND.sub(r"$\1", statement) if named else statement
        try:
            return (connection or self.raw).execute(text, {name: values[name] for name in named})
        except self._error as error:
            self._check_damage(str(error))
            raise self._convert_error(error) from error
        except UnicodeDecodeError as error:  # DuckDB cut a value amid a character in its message
            raise WarehouseError(error.object.decode(errors="replace")) from error
        except RuntimeError as error:
            if str(error) == "Query interrupted":  # by Ctrl-C
                raise KeyboardInterrupt from None
            raise

    def _check_damage(self, message: str) -> None:
        """Raise Damaged when DuckDB's error is about a corrupt file, or the log beside it."""
        reason, *_ = message.removeprefix("IO Error: ").splitlines()
        ours = self.settings.is_default_database
        if reason.startswith("Failure while replaying WAL"):
            lost = f"{self.file}.wal is damaged, and with it the last load into {self.file.name}"
            ours = ours or _is_ours_without_log(self.settings)
        elif reason.startswith(("Corrupt database file", "Could not read enough bytes from file")):
            lost = f"{self.file} is damaged, and with it what was loaded into it"
        else:
            return
        remedy = (
            f"remove it with 05_teardown ({REMOVE})" if ours else f"delete {self.file} yourself"
        )
        raise Damaged(f"{lost} ({reason}); {remedy} and load anew, the data files stay.", ours)

    def _convert_error(self, error: Exception) -> WarehouseError:
        """Return DuckDB's error as one of ours, with what to do about it."""
        import duckdb

        message = str(error)
        if isinstance(error, duckdb.OutOfMemoryException):
            return OutOfRoom(
                f"DuckDB ran out of memory, or of disk space next to {self.file} "
                f"({message.splitlines()[0]}); free some, raise [LOCAL] MEMORY_LIMIT, or lower "
                "[LOCAL] THREADS."
            )
        if "disabled by configuration" in message:
            first_line = message.splitlines()[0]
            return WarehouseError(
                f"{first_line}; a warehouse opened read-only reads no other file."
            )
        kind = OutOfRoom if "Could not write" in message else WarehouseError
        return kind(self.explain_refusal(message))

    def _frame(self, statement: str, values: dict):
        return self._execute(statement, values).df()

    @property
    def home(self) -> str:
        """Database and schema of the tables, quoted for SQL."""
        ((database,),) = self._execute("select current_database()").fetchall()
        quoted = database.replace('"', '""')
        return f'"{quoted}".{self.schema}'

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


def _choose_memory(raw) -> int:
    """Return the MB of memory that an open DuckDB's threads need, at most its own limit."""
    limits = "select current_setting('memory_limit'), current_setting('threads')"
    ((own, threads),) = raw.execute(limits).fetchall()
    number, unit = own.split()
    most = float(number) * 1024**2 * 1024 ** (["MiB", "GiB", "TiB"].index(unit)) / 1e6
    return int(min(most, max(LEAST_MEMORY, EACH_THREAD * threads)))


def remove_spill_files(file: Path) -> None:
    """Remove the temporary files that a killed process left beside a database open to write."""
    for spilled in Path(f"{file}.tmp").glob("duckdb_temp_*"):
        with suppress(OSError):
            spilled.unlink()


def _is_duckdb_file(file: Path) -> bool:
    """Return whether a file has DuckDB's magic bytes; DuckDB itself would also open SQLite's."""
    try:
        with open(file, "rb") as content:
            return content.read(12)[8:] == b"DUCK"
    except OSError:
        return True  # it is missing, or DuckDB says why it can't be read


def _explain_failure(file: Path, message: str) -> str:
    """Return why a file can't be opened, from DuckDB's message, and what to do."""
    if holder := re.search(r"held in (.+?) \(PID (\d+)\)", message):
        program, pid = Path(holder[1]).name, holder[2]
        return (
            f"{file} is in use by process {pid} ({program}); close that notebook's kernel "
            "or stop that program, then run this again."
        )
    if "different configuration" in message:
        return f"{file} {OPEN_HERE}; close it first: dwh.close()."
    return f"{file} can't be opened: {message.splitlines()[0]}"


def _is_ours_without_log(settings: Settings) -> bool:
    """Whether a database file, read without the log beside it, is wholly this project's."""
    try:
        with TemporaryDirectory(dir=settings.database.parent) as scratch:
            link = Path(scratch) / settings.database.name
            link.hardlink_to(settings.database)
            alone = replace(settings, local=replace(settings.local, database=str(link)))
            with closing(DuckDB(alone, read_only=True)) as opened:
                return opened.has_mark() and not opened.list_foreign_objects()
    except (OSError, WarehouseError):  # no links here, or the file is damaged too
        return False
