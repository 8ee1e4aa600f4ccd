"""The warehouse: `connect(settings)` opens it behind one small interface, whatever the engine."""

from __future__ import annotations

from pathlib import Path

from lib.config import Settings
from lib.warehouse.base import Warehouse
from lib.warehouse.duckdb import OPEN_HERE, DuckDB, remove_spill_files
from lib.warehouse.templates import WarehouseError


def connect(
    settings: Settings,
    read_only: bool = False,
    create: bool = False,
    writes: Path | None = None,
) -> Warehouse:
    """Open the warehouse that `settings` name.

    `read_only`: for queries; several processes can then read a DuckDB file at once, and no query
    reads another file; Redshift is queried as a user with read access only.
    `writes`: the one folder that such queries may still read and write.
    `create`: create the database file when it is missing.
    Raises WarehouseError when it is missing, is in use, or was not made by this project.
    """
    if settings.dwh.target == "redshift":
        from lib.warehouse.redshift import Redshift

        opened: Warehouse = Redshift(settings, read_only)
    elif create or settings.database.exists():
        if not read_only and Path(f"{settings.database}.wal").exists():
            check_owner(settings)  # opening it to write merges that log into the file
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
        remove_spill_files(opened.file)
    return opened


def check_owner(settings: Settings) -> None:
    """Raise WarehouseError when a database that this process has not open is somebody else's."""
    try:
        connect(settings, read_only=True).close()
    except WarehouseError as error:
        if OPEN_HERE not in str(error):
            raise
