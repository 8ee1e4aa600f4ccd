"""The audits: queries of lib/sql/audit that must find nothing, over one load or over all."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from lib.config import Settings

if TYPE_CHECKING:
    from pandas import DataFrame

    from lib.warehouse.base import Warehouse

STAGE_AUDITS = ("staging_events_required", "staging_songs_required")
STAR_AUDITS = (
    "counts_reconcile",
    "keys_are_unique",
    "no_orphan_keys",
    "user_versions_follow",
    "plays_are_told_apart",
    "every_play_is_there",
    "coverage_reaches_floor",
)


def possible_times(settings: Settings) -> range:
    """Return the times that an event can have, in milliseconds since 1970.

    They end a day from now: clocks differ.
    """
    earliest = datetime.combine(settings.load.earliest, datetime.min.time(), UTC)
    latest = datetime.now(UTC) + timedelta(days=1)
    return range(*(int(end.timestamp() * 1000) for end in (earliest, latest)))


class Scope:
    """What merges and audits look at: the loads from `first_batch` on, the time of their events.

    `identifiers`: what their templates are told. `all`: there is nothing else. `new_songs`: the
    loads have brought songs. `exact`: an event may have been delivered twice.
    """

    def __init__(self, warehouse: Warehouse, settings: Settings, first_batch: int = 0):
        self.warehouse = warehouse
        levels, times = settings.load.level_names, possible_times(settings)
        self.identifiers = {"all": first_batch <= 1, "levels": levels}
        self.identifiers |= {"new_songs": True, "exact": True}
        self.values = {"first_batch": first_batch, "min_coverage": settings.load.min_coverage}
        self.values |= {"earliest_ms": times.start, "latest_ms": times.stop}
        ((since, until),) = warehouse.rows("load/time_of_load", first_batch=first_batch)
        self.values |= {"since": since, "until": until}

    def merge(self, step: str) -> None:
        """Run lib/sql/load/`step`.sql."""
        self.warehouse.run(f"load/{step}", self.identifiers, **self.values)

    def audit(self, names: Iterable[str]) -> dict[str, int]:
        """Return by name how many rows each lib/sql/audit/`name`.sql finds, all asked together."""
        identifiers = self.identifiers | {"audits": list(names)}
        return dict(self.warehouse.rows("status/found", identifiers, **self.values))

    def find_offending(self, name: str) -> DataFrame:
        """Return the rows that lib/sql/audit/`name`.sql finds."""
        return self.warehouse.frame(f"audit/{name}", self.identifiers, **self.values)
