"""Export the star as files for other tools: `python -m lib.run --export FOLDER`.

A Parquet and a CSV file for each table of the star and for the view `plays`. Redshift's tables are
fetched into a DuckDB file first, so that both engines give the same files, with the same types.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from lib import UserError, scratch
from lib.config import Settings
from lib.warehouse import connect
from lib.warehouse.base import STAR, Warehouse
from lib.warehouse.duckdb import DuckDB

EXPORTED = (*STAR, "plays")
FORMATS = ("parquet", "csv")


class ExportError(UserError):
    """A folder that can't be written to, or is there already."""


def export(settings: Settings, folder: str | Path) -> dict[str, int]:
    """Write the star to a new folder, all of it or nothing; return the rows of each table.

    Raises ExportError when `folder` exists or can't be made, WarehouseError when the warehouse
    can't be read or there is no room.
    """
    folder = Path(folder).absolute()
    with (
        _create_folder(folder) as unfinished,
        closing(connect(settings, read_only=True, writes=unfinished)) as opened,
    ):
        opened._execute("begin")  # all tables of one state; closing rolls back
        with _copy_to_duckdb(opened, settings) as duckdb:
            for table in EXPORTED:
                for form in FORMATS:
                    file = str(unfinished / f"{table}.{form}")
                    duckdb.run(f"export/{form}", {"table": table}, file=file)
            return duckdb.count_rows(EXPORTED)


@contextmanager
def _create_folder(folder: Path) -> Iterator[Path]:
    """Yield a hidden folder, and rename it to `folder` when nothing within has failed."""
    try:
        if folder.exists():
            raise ExportError(f"{folder} exists, and nothing is overwritten; name a new folder.")
        if not folder.parent.exists():
            folder.parent.mkdir(parents=True)
        with scratch.make_folder(folder.parent) as hidden:
            unfinished = hidden / folder.name
            unfinished.mkdir()
            yield unfinished
            unfinished.rename(folder)
    except OSError as error:
        raise ExportError(f"{folder} can't be written: {error.strerror}.") from None


@contextmanager
def _copy_to_duckdb(opened: Warehouse, settings: Settings) -> Iterator[DuckDB]:
    """Yield the star as a DuckDB database: itself, or a copy in a temporary file."""
    if isinstance(opened, DuckDB):
        yield opened
        return
    with scratch.make_folder() as folder:
        local = replace(settings.local, database=str(folder / "star.duckdb"))
        with closing(DuckDB(replace(settings, local=local))) as copy:
            copy.create_schema()
            for table in STAR:
                for frame in opened.read_table(table):
                    copy.append(table, frame)
            yield copy
