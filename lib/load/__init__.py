"""The load of 03: list files, stage the new ones, merge, audit, commit.

One transaction: what was there stays visible until everything new is in, and stays if anything
fails. The rules that the numbers depend on are in the SQL files, in lib/sql/load and lib/sql/audit.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lib.config import Settings
from lib.load.outcome import BadRecords, Load, LoadError
from lib.load.star import MERGES, audit_warehouse
from lib.load.transaction import Loader
from lib.warehouse.base import Warehouse

__all__ = ["STEPS", "BadRecords", "Load", "LoadError", "audit_warehouse", "load"]

STEPS = len(MERGES) + 5  # read and stage songs and events, merge, audit


def load(
    warehouse: Warehouse,
    settings: Settings,
    progress: Callable[[str], None] = lambda step: None,
    keep: str | Path = "",
    replace: bool = False,
    full_refresh: bool = False,
    verify: bool = False,
) -> Load:
    """Bring the files that are new into the warehouse: all of them, or none.

    `progress`: called with each step, in a few words.
    `keep`: a folder for load.json, which says what was done, or found; empty: nowhere.
    `replace`: load files that have changed anew, with all that came in the same load.
    `full_refresh`: build the star anew from staging.
    `verify`: read every file again, as these two do, also those that look untouched.
    Raises SourceError, BadRecords or LoadError; the warehouse is then as it was.
    """
    loader = Loader(warehouse, settings, progress)
    loader.replace, loader.full_refresh = replace, full_refresh
    loader.reads_all = verify or replace or full_refresh
    try:
        loader.load()
    except LoadError as error:
        if keep and loader.result:
            loader.result.failure = str(error)
            loader.result.save(keep)
        raise
    if keep:
        loader.result.save(keep)
    return loader.result
