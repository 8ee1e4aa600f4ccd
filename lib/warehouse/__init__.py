"""The warehouse: `connect(settings)` gives one small interface, whatever the engine."""

from __future__ import annotations

from pathlib import Path

from lib.config import Settings
from lib.warehouse.base import Warehouse
from lib.warehouse.duckdb import OPEN_HERE, DuckDB, remove_spilled
from lib.warehouse.templates import WarehouseError


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
        from lib.warehouse.redshift import Redshift

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
        remove_spilled(opened.file)
    return opened


def _refuse_stranger(settings: Settings) -> None:
    """Raise WarehouseError when a database that is not open here is none of this project's."""
    try:
        connect(settings, read_only=True).close()
    except WarehouseError as error:
        if OPEN_HERE not in str(error):
            raise
