"""The load protocol: list, begin, stage, audit, merge, audit, record, commit.

One transaction: what was there stays visible until everything new is in, and stays if anything
fails. The rules that the numbers depend on are in the SQL files, in lib/sql/load and lib/sql/audit.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from lib import UserError, source
from lib.config import Settings
from lib.warehouse import Conflict, ConnectionLost, CopyError, NotJson, Warehouse, WarehouseError

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
TRIES, PAUSE = 5, 1.0  # at a load that conflicts with another session; seconds, at random


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
    conflicts = 0
    while True:
        try:
            return _load(warehouse, settings, progress, strict)
        except _Unparsed as failure:
            if failure.kind in strict:
                raise LoadError(f"{failure} Nothing was loaded.") from None
            progress(f"a file can't be parsed at once; reading {failure.kind.name} one by one")
            strict.add(failure.kind)
        except Conflict as conflict:
            conflicts += 1
            if conflicts == TRIES:
                raise LoadError(f"{conflict}\nTried {TRIES} times. Nothing was loaded.") from None
            progress(f"another session changed the same tables; try {conflicts + 1} of {TRIES}")
            time.sleep(PAUSE * 2**conflicts * random.random())  # noqa: S311 no secret
        except OSError as error:
            place = error.filename or tempfile.tempdir or "The folder for temporary files"
            raise LoadError(
                f"{place} can't be written: {error.strerror}. Nothing was loaded; make room there, "
                "or name another folder in TMPDIR."
            ) from error


def _load(warehouse: Warehouse, settings: Settings, progress, strict: set[source.Kind]) -> Load:
    with tempfile.TemporaryDirectory() as scratch:
        attempt = _Attempt(warehouse, settings, progress, strict, Path(scratch))
        try:
            with warehouse.transaction():
                return attempt.run()
        except ConnectionLost as lost:
            try:
                if attempt.committed():
                    return attempt.result
            except WarehouseError as error:
                raise LoadError(
                    f"{lost} Whether the load was committed can't be asked now ({error}). Load "
                    "again: what is in the ledger is not loaded twice."
                ) from None
            raise LoadError(f"{lost} Nothing was loaded; load again.") from None
        except Conflict:
            raise
        except WarehouseError as error:
            raise LoadError(f"{error}\nNothing was loaded.") from error


class _Attempt:
    """One try at a load, within a transaction."""

    def __init__(self, warehouse: Warehouse, settings: Settings, progress, strict, scratch: Path):
        self.warehouse, self.settings, self.progress = warehouse, settings, progress
        self.strict, self.scratch = strict, scratch
        self.loaded_at = datetime.now(UTC).replace(tzinfo=None)
        self.batches: list[source.Batch] = []
        self.recorded = 0

    def run(self) -> Load:
        """Stage, merge, audit and record what is new."""
        ((self.batch_id,),) = self.warehouse.rows("load/next_batch")
        before = self.warehouse.row_counts()
        places = {source.SONGS: self.settings.song_data, source.EVENTS: self.settings.log_data}
        for kind, place in places.items():
            self.progress(f"reading {kind.name}")
            self.batches.append(self._gathered(kind, place))
        self.result = Load(
            {batch.kind.name: len(batch.files) for batch in self.batches},
            {batch.kind.name: batch.known for batch in self.batches},
            before,
        )
        if any(batch.files for batch in self.batches):
            self._merge(places)
        self.result.rows = self.warehouse.row_counts()
        self.result.plays, self.result.matched = self.warehouse.coverage()
        return self.result

    def committed(self) -> bool:
        """Ask the ledger whether this load was committed when its connection broke."""
        if not self.recorded:
            return False
        self.warehouse.reopen()
        about = {"batch_id": self.batch_id, "loaded_at": self.loaded_at}
        ((files,),) = self.warehouse.rows("load/committed", **about)
        return files == self.recorded

    def _gathered(self, kind: source.Kind, place: str) -> source.Batch:
        known = dict(self.warehouse.rows("load/ledger", kind=kind.name))
        strict = kind in self.strict
        if self.warehouse.copies and "://" in place and not strict:
            return source.remote(kind, place, known, self.settings)
        return source.gather(kind, place, known, self.scratch, strict, self.settings)

    def _merge(self, places: dict) -> None:
        for batch in self.batches:
            read = f"{len(batch.files):,} files of" if batch.remote else f"{batch.records:,}"
            self.progress(f"staging {read} {batch.kind.name}")
            self._stage(batch, places[batch.kind])
        for step in MERGES:
            self.progress(step.replace("_", " "))
            self.warehouse.run(f"load/{step}", batch_id=self.batch_id)
        self.progress("auditing")
        self.result.audits = self._audit()
        self._record()

    def _stage(self, batch: source.Batch, place: str) -> None:
        """Bring the batch's parts into its staging table, every record or none."""
        kind = batch.kind.name
        if not batch.parts:
            return self._refuse_if_empty(batch, place, 0)
        try:
            batch.count(self.warehouse.stage(batch, self.batch_id))
        except (Conflict, ConnectionLost):
            raise
        except WarehouseError as error:
            named = isinstance(error, CopyError) and not isinstance(error, NotJson)
            if named and batch.remote:  # of other parts the file's own lines are known here only
                raise LoadError(f"{error} Nothing was loaded.") from error
            raise _Unparsed(batch.kind, str(error)) from error
        batch.require_unchanged()
        table = {"table": f"staging_{kind}"}
        ((staged,),) = self.warehouse.rows("status/staged", table, batch_id=self.batch_id)
        if staged != batch.records and batch.remote:
            batch.count(self._counted(batch, place))  # the engine counts lines, not records
        if staged != batch.records:
            reason = f"{place}: {batch.records:,} records were read and {staged:,} staged."
            raise _Unparsed(batch.kind, reason)
        if self.warehouse.rows(f"audit/staging_{kind}_required", batch_id=self.batch_id):
            raise _Unparsed(batch.kind, f"{place}: a record of {kind} lacks a required field.")
        return self._refuse_if_empty(batch, place, staged)

    def _counted(self, batch: source.Batch, place: str) -> dict[str, int]:
        """Return the records of each of a batch's files, read here."""
        self.progress(f"counting the {batch.kind.name} in files that are not one a line")
        known = dict(self.warehouse.rows("load/ledger", kind=batch.kind.name))
        read = source.gather(batch.kind, place, known, self.scratch, settings=self.settings)
        return {file.key: file.records for file in read.files}

    def _refuse_if_empty(self, batch: source.Batch, place: str, staged: int) -> None:
        if not staged and not batch.known:
            raise LoadError(
                f"{place} holds {len(batch.files):,} files and not one record of "
                f"{batch.kind.name}; name the folder that holds them. Nothing was loaded."
            )

    def _audit(self) -> list[str]:
        """Return the names of the audits, all of which gave no row; else raise LoadError."""
        coverage = self.settings.load.min_coverage
        values = {"batch_id": self.batch_id, "min_coverage": coverage}
        for audit in STAR_AUDITS:
            offending = self.warehouse.frame(f"audit/{audit}", **values)
            if len(offending):
                shown = offending.head(SHOWN).to_string(index=False)
                raise LoadError(
                    f"The audit {audit} found {len(offending):,} rows, so nothing was loaded. "
                    f"The first:\n{shown}"
                )
        return [*STAGE_AUDITS, *STAR_AUDITS]

    def _record(self) -> None:
        """Enter the batches' files in the ledger."""
        import pandas as pd

        files = pd.DataFrame(
            [
                (batch.kind.name, file.key, file.size, file.content_hash, file.records)
                for batch in self.batches
                for file in batch.files
            ],
            columns=["kind", "file_key", "size_bytes", "content_hash", "row_count"],
        )
        files = files.assign(reject_count=0, batch_id=self.batch_id, loaded_at=self.loaded_at)
        self.warehouse.append("load_files", files)
        self.recorded = len(files)
