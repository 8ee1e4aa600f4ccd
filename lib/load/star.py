"""The star: merge what a load has staged into it, and audit it before the commit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from lib.config import Settings
from lib.load.outcome import Load, LoadError
from lib.warehouse.base import STAR, Warehouse

MERGES = (
    "merge_songs",
    "merge_artists",
    "merge_time",
    "merge_users",
    "match_songs",
    "merge_songplays",
    "rekey_songplays",
    "rematch_songplays",
    "find_duplicates",
)
EARLIER = {"rekey_songplays", "rematch_songplays"}  # what is done to plays of earlier loads
OF_SONGS = {"merge_songs", "merge_artists", "rematch_songplays"}  # needless without new songs
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
SHOWN = 5  # offending rows that a failed audit shows


def limit_times(settings: Settings) -> range:
    """Return the times that an event can have, in milliseconds since 1970.

    They end a day from now: clocks differ.
    """
    earliest = datetime.combine(settings.load.earliest, datetime.min.time(), UTC)
    latest = datetime.now(UTC) + timedelta(days=1)
    return range(*(int(end.timestamp() * 1000) for end in (earliest, latest)))


class Scope:
    """What merges and audits look at: the loads from `first_batch` on, the time of their events.

    `identifiers` tell the templates: `all`: there are no earlier loads; `new_songs`: songs are
    among the new; `exact`: an event may have been delivered twice.
    """

    def __init__(self, warehouse: Warehouse, settings: Settings, first_batch: int):
        self.warehouse = warehouse
        self.identifiers = {"all": first_batch <= 1, "new_songs": True, "exact": True}
        self.identifiers["levels"] = settings.load.level_names
        ((since, until),) = warehouse.rows("load/time_of_load", first_batch=first_batch)
        times = limit_times(settings)
        self.values = {"first_batch": first_batch, "min_coverage": settings.load.min_coverage}
        self.values |= {"earliest_ms": times.start, "latest_ms": times.stop}
        self.values |= {"since": since, "until": until}

    def run_step(self, step: str) -> None:
        """Run lib/sql/load/`step`.sql."""
        self.warehouse.run(f"load/{step}", self.identifiers, **self.values)

    def count_offending(self, names: Iterable[str]) -> dict[str, int]:
        """Return by name how many rows each lib/sql/audit/`name`.sql finds, all asked together."""
        identifiers = self.identifiers | {"audits": list(names)}
        return dict(self.warehouse.rows("status/found", identifiers, **self.values))


def audit_warehouse(warehouse: Warehouse, settings: Settings) -> dict[str, int]:
    """Ask every audit over all loads; return by name how many rows each one finds."""
    return Scope(warehouse, settings, 0).count_offending((*STAGE_AUDITS, *STAR_AUDITS))


def rebuild_star(scope: Scope, result: Load, progress: Callable[[str], None]) -> None:
    """Build a new set of tables from staging, audit it, and put it in place of the old one."""
    new_set = {"tables": STAR, "home": scope.warehouse.home}
    progress("building the star anew")
    scope.warehouse.run("refresh/begin", new_set)
    build_star(scope, result, progress)
    scope.warehouse.run("refresh/swap", new_set)


def build_star(scope: Scope, result: Load, progress: Callable[[str], None]) -> None:
    """Merge what a load has staged, then ask every audit; raise LoadError when one finds a row."""
    skipped = EARLIER if scope.identifiers["all"] else set()
    skipped = skipped if scope.identifiers["new_songs"] else OF_SONGS
    for step in [step for step in MERGES if step not in skipped]:
        progress(step.replace("_", " "))
        scope.run_step(step)
    ((duplicates,),) = scope.warehouse.rows("load/count_duplicates")
    scope.identifiers["exact"] = bool(duplicates)
    if duplicates:
        progress("merging duplicates")
        scope.run_step("merge_duplicates")
    progress("auditing")
    asked = [name for name in STAR_AUDITS if duplicates or name != "plays_are_told_apart"]
    found = dict.fromkeys((*STAGE_AUDITS, *STAR_AUDITS), 0) | scope.count_offending(asked)
    if found["every_play_is_there"]:  # or an event of these hours was delivered twice before
        scope.identifiers["exact"] = True
        found |= scope.count_offending(["every_play_is_there"])
    result.audits = found
    if failed := {name: count for name, count in found.items() if count}:
        raise LoadError("\n\n".join(_describe_audit(scope, *each) for each in failed.items()))


def _describe_audit(scope: Scope, name: str, count: int) -> str:
    rows = scope.warehouse.frame(f"audit/{name}", scope.identifiers, **scope.values)
    return (
        f"The audit {name} found {count:,} rows, so nothing was loaded. The first:\n"
        f"{rows.head(SHOWN).to_string(index=False)}"
    )
