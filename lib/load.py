"""The load protocol: list, begin, stage, audit, merge, audit, record, commit.

One transaction: what was there stays visible until everything new is in, and stays if anything
fails. The rules that the numbers depend on are in the SQL files, in lib/sql/load and lib/sql/audit.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from lib import UserError, source
from lib.config import Settings
from lib.warehouse import Warehouse, WarehouseError

MERGES = (
    "merge_songs",
    "merge_artists",
    "merge_time",
    "merge_users",
    "match_songs",
    "merge_songplays",
    "rekey_songplays",
    "rematch_songplays",
    "merge_duplicates",
)
STAGE_AUDITS = ("staging_events_required", "staging_songs_required")
STAR_AUDITS = (
    "keys_are_unique",
    "no_orphan_keys",
    "user_versions_follow",
    "plays_have_their_version",
    "every_play_is_there",
    "coverage_reaches_floor",
)
SHOWN = 5  # offending rows that a failed audit shows


class LoadError(UserError):
    """A load that was stopped; the warehouse is as it was before."""


class _Unparsed(Exception):
    """The fast parse of one kind failed; reading it record by record will say where."""

    def __init__(self, kind: source.Kind, reason: str):
        super().__init__(reason)
        self.kind = kind


@dataclass
class Load:
    """What a load did: files and rows by table, audits passed, coverage."""

    new_files: dict[str, int]
    known_files: dict[str, int]
    rows_before: dict[str, int]
    rows: dict[str, int] = field(default_factory=dict)
    audits: list[str] = field(default_factory=list)
    plays: int = 0
    matched: int = 0

    @property
    def coverage(self) -> float:
        """The share of plays that are matched to a song of the catalogue, 0 to 1."""
        return self.matched / self.plays if self.plays else 0.0

    def frame(self):
        """Return one row a table: rows before, added, now."""
        import pandas as pd

        before = [self.rows_before[table] for table in self.rows]
        frame = pd.DataFrame({"table": list(self.rows), "before": before})
        frame["now"] = list(self.rows.values())
        frame.insert(2, "added", frame["now"] - frame["before"])
        return frame

    def save(self, folder: str | Path) -> Path:
        """Write what the load did to `folder`/load.json."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        file = Path(folder) / "load.json"
        file.write_text(json.dumps(asdict(self) | {"coverage": self.coverage}, indent=2) + "\n")
        return file

    def __str__(self) -> str:
        new, known = sum(self.new_files.values()), sum(self.known_files.values())
        if not new:
            return f"Nothing new: all {known:,} files were loaded before. Nothing was changed."
        parts = ", ".join(f"{count:,} of {kind}" for kind, count in self.new_files.items())
        skipped = f"; {known:,} files were loaded before" if known else ""
        return (
            f"Loaded {new:,} new files ({parts}){skipped}. "
            f"{len(self.audits)} audits passed. {self.coverage:.1%} of {self.plays:,} plays are "
            "matched to a song of the catalogue."
        )


def load(
    warehouse: Warehouse, settings: Settings, progress: Callable[[str], None] = lambda step: None
) -> Load:
    """Bring the files that are new into the warehouse: all of them, or none.

    `progress`: is told each step in a few words.
    Raises SourceError, BadRecord or LoadError; the warehouse is then as it was.
    """
    strict: set[source.Kind] = set()
    while True:
        try:
            return _load(warehouse, settings, progress, strict)
        except _Unparsed as failure:
            if failure.kind in strict:
                raise LoadError(f"{failure} Nothing was loaded.") from None
            progress(f"a file can't be parsed at once; reading {failure.kind.name} one by one")
            strict.add(failure.kind)


def _load(warehouse: Warehouse, settings: Settings, progress, strict: set[source.Kind]) -> Load:
    places = {source.SONGS: settings.song_data, source.EVENTS: settings.log_data}
    with tempfile.TemporaryDirectory() as scratch, warehouse.transaction():
        ((batch_id,),) = warehouse.rows("load/next_batch")
        before = warehouse.row_counts()
        batches = []
        for kind, place in places.items():
            progress(f"reading {kind.name}")
            known = dict(warehouse.rows("load/ledger", kind=kind.name))
            batches.append(source.gather(kind, place, known, Path(scratch), kind in strict))
        result = Load(
            {batch.kind.name: len(batch.files) for batch in batches},
            {batch.kind.name: batch.known for batch in batches},
            before,
        )
        if any(batch.files for batch in batches):
            for batch in batches:
                progress(f"staging {batch.records:,} {batch.kind.name}")
                _stage(warehouse, batch, batch_id, places[batch.kind])
            for step in MERGES:
                progress(step.replace("_", " "))
                warehouse.run(f"load/{step}", batch_id=batch_id)
            progress("auditing")
            result.audits = _audit(warehouse, batch_id, settings)
            _record(warehouse, batches, batch_id)
        result.rows = warehouse.row_counts()
        result.plays, result.matched = warehouse.coverage()
        return result


def _stage(warehouse: Warehouse, batch: source.Batch, batch_id: int, place: str) -> None:
    """Parse the batch's parts into its staging table, every record or none."""
    kind = batch.kind.name
    if not batch.records and not batch.known:
        raise LoadError(
            f"{place} holds {len(batch.files):,} files and not one record of {kind}; "
            "name the folder that holds them. Nothing was loaded."
        )
    if not batch.parts:
        return
    fields = {"fields": batch.kind.fields}
    try:
        warehouse.run(f"load/stage_{kind}", fields, files=batch.parts, batch_id=batch_id)
    except WarehouseError as error:
        raise _Unparsed(batch.kind, str(error)) from error
    table = {"table": f"staging_{kind}"}
    ((staged,),) = warehouse.rows("status/staged", table, batch_id=batch_id)
    if staged != batch.records:
        reason = f"{place}: {batch.records:,} records were read and {staged:,} staged."
        raise _Unparsed(batch.kind, reason)
    if warehouse.rows(f"audit/staging_{kind}_required", batch_id=batch_id):
        raise _Unparsed(batch.kind, f"{place}: a record of {kind} lacks a required field.")


def _audit(warehouse: Warehouse, batch_id: int, settings: Settings) -> list[str]:
    """Return the names of the audits, all of which gave no row; else raise LoadError."""
    values = {"batch_id": batch_id, "min_coverage": settings.load.min_coverage}
    for audit in STAR_AUDITS:
        offending = warehouse.frame(f"audit/{audit}", **values)
        if len(offending):
            shown = offending.head(SHOWN).to_string(index=False)
            raise LoadError(
                f"The audit {audit} found {len(offending):,} rows, so nothing was loaded. "
                f"The first:\n{shown}"
            )
    return [*STAGE_AUDITS, *STAR_AUDITS]


def _record(warehouse: Warehouse, batches: list[source.Batch], batch_id: int) -> None:
    """Enter the batches' files in the ledger."""
    import pandas as pd

    now = datetime.now(UTC).replace(tzinfo=None)
    for batch in batches:
        files = pd.DataFrame(
            [(file.key, file.size, file.content_hash, file.records) for file in batch.files],
            columns=["file_key", "size_bytes", "content_hash", "row_count"],
        )
        with warehouse.lending(files=files):
            warehouse.run(
                "load/record_files", kind=batch.kind.name, batch_id=batch_id, loaded_at=now
            )
