"""One load as one transaction: what it stages and records, when it is tried again or given up."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from lib import scratch
from lib.config import Settings
from lib.load.files import Batch, ChangedFile, Identity, gather_files, require_unchanged
from lib.load.outcome import BadRecords, Load, LoadError, require_known_format
from lib.load.records import SONGS, Kind, Reject, limit_events
from lib.load.star import Scope, build_star, limit_times, rebuild_star
from lib.warehouse.base import PATIENCE, Busy, Conflict, ConnectionLost, CopyError, Warehouse
from lib.warehouse.templates import WarehouseError

IDENTITY = list(Identity._fields[1:])  # columns of the ledger; the size is one for every file
LEDGER = ["kind", "file_key", "size_bytes", "content_hash", "row_count", "reject_count"]
KINDS = {"sample": "the sample, which is invented", "own": "other data than the sample"}
BRIEFLY = 2.0  # seconds to wait for another load to end before that is said
TRIES, PAUSE = 5, 1.0  # at a load that conflicts with another session; seconds, at random


class _Refused(Exception):
    """An engine refused records of some files; reading them one by one will say which."""

    def __init__(self, files: set[str], reason: str):
        super().__init__(reason)
        self.files = files


class _Replace(Exception):
    """A file of a load has changed, and all that came in that load is to be loaded anew."""

    def __init__(self, batch_id: int):
        self.batch_id = batch_id


class Loader:
    """A load, tried until it is in or can't be: each failure says what the next try does better."""

    result: Load | None = None
    replace = full_refresh = reads_all = False

    def __init__(self, warehouse: Warehouse, settings: Settings, progress: Callable[[str], None]):
        self.warehouse, self.settings, self.progress = warehouse, settings, progress
        events = limit_events(limit_times(settings), settings.load.level_names)
        self.places = {SONGS: settings.song_data, events: settings.log_data}
        self.one_by_one: set[str] = set()  # the files whose records are looked at here
        self.replaced: set[int] = set()  # the batches to load anew
        self.patience = BRIEFLY

    def load(self) -> None:
        """Try until a load is in; raise LoadError or SourceError when it can't be."""
        conflicts = 0
        while True:
            try:
                return self._try_once()
            except _Refused as refused:
                if refused.files <= self.one_by_one:
                    raise LoadError(f"{refused} Nothing was loaded.") from None
                self.one_by_one |= refused.files
                count = len(refused.files)
                self.progress(f"{refused} So {count:,} files are read record by record.")
            except _Replace as changed:
                self.replaced.add(changed.batch_id)
                self.progress(f"a file of load {changed.batch_id} has changed; replacing that load")
            except Busy as busy:
                if self.patience == PATIENCE:
                    raise LoadError(f"{busy} Nothing was loaded.") from None
                self.patience, wait = PATIENCE, f"{PATIENCE / 60:.0f} minutes"
                self.progress(f"another load is running; waiting at most {wait} for it")
            except Conflict as conflict:
                conflicts += 1
                if conflicts == TRIES:
                    said = f"{conflict}\nTried {TRIES} times. Nothing was loaded."
                    raise LoadError(said) from None
                next_try = f"try {conflicts + 1} of {TRIES}"
                self.progress(f"another session changed the same tables; {next_try}")
                time.sleep(PAUSE * 2**conflicts * random.random())  # noqa: S311 no secret

    def _try_once(self) -> None:
        self.result, self.recorded = None, 0
        self.loaded_at = datetime.now(UTC).replace(tzinfo=None)
        try:
            with scratch.make_folder() as folder, self.warehouse.transaction(self.patience):
                self._load_new(folder)
        except ConnectionLost as lost:
            self._require_committed(lost)
        except (Busy, Conflict):
            raise
        except WarehouseError as error:
            raise LoadError(f"{error}\nNothing was loaded.") from error
        except OSError as error:
            place = error.filename or tempfile.tempdir or "The folder for temporary files"
            raise LoadError(
                f"{place} can't be written: {error.strerror}. Nothing was loaded; make room there, "
                "or name another folder in TMPDIR."
            ) from error

    def _require_committed(self, lost: ConnectionLost) -> None:
        """Ask the ledger whether the load was committed when its connection broke."""
        found = 0
        try:
            if self.recorded:
                self.warehouse.reopen()
                values = {"batch_id": self.batch_id, "loaded_at": self.loaded_at}
                ((found,),) = self.warehouse.rows("load/committed", **values)
        except WarehouseError as error:
            raise LoadError(
                f"{lost} Whether the load was committed can't be asked now ({error}). Load again: "
                "what is in the ledger is not loaded twice."
            ) from None
        if not found or found != self.recorded:
            raise LoadError(f"{lost} Nothing was loaded; load again.") from None

    def _load_new(self, folder: Path) -> None:
        """Load what is new, within a transaction; `result` says what that was."""
        ((self.batch_id,),) = self.warehouse.rows("load/next_batch")
        self.warehouse.require_model()
        self._claim_warehouse()
        before = self.warehouse.count_rows()
        ledgers = [self.warehouse.rows("load/ledger", kind=kind.name) for kind in self.places]
        forgotten = {row[0] for ledger in ledgers for row in ledger if row[2] in self.replaced}
        for batch_id in self.replaced:
            self.warehouse.run("load/forget", batch_id=batch_id)
        known = [
            {row[0]: row[1:] for row in ledger if row[0] not in forgotten} for ledger in ledgers
        ]
        batches = [self._gather(*each, folder) for each in zip(self.places, known, strict=True)]
        if missing := forgotten - {file.key for batch in batches for file in batch.files}:
            raise LoadError(
                f"{min(missing)} was loaded together with a file that has changed, and is no "
                "longer there; bring it back, or start a new warehouse. Nothing was loaded."
            )
        self.result = Load(
            {batch.kind.name: len(batch.files) for batch in batches},
            {batch.kind.name: batch.known for batch in batches},
            before,
            verified=self.reads_all,
        )
        rebuild = self.full_refresh or bool(self.replaced)
        if rebuild or any(batch.files for batch in batches):
            for batch in batches:
                self._stage_batch(batch)
            self._keep_rejects(batches)
            for batch in batches:
                require_known_format(batch, self.warehouse, self.batch_id)
                unknown = batch.first_keys.keys() - batch.kind.fields.keys()
                self.result.unknown_fields |= {n: batch.first_keys[n] for n in sorted(unknown)}
            self._record_files(batches, known)
            scope = Scope(self.warehouse, self.settings, 0 if rebuild else self.batch_id)
            scope.identifiers["new_songs"] = scope.identifiers["all"] or bool(batches[0].files)
            (rebuild_star if rebuild else build_star)(scope, self.result, self.progress)
        self.result.plays, self.result.matched = self.warehouse.coverage()
        self.result.rows = self.warehouse.count_rows()

    def _claim_warehouse(self) -> None:
        """Say in the warehouse which kind of data it holds; raise LoadError for the other kind."""
        held, kind = self.warehouse.data_kind, self.settings.data_kind
        if held is None:
            self.warehouse.run("load/claim", data_kind=kind)
        elif held != kind:
            own = " name your data with LOG_DATA and SONG_DATA, or" if held == "own" else ""
            raise LoadError(
                f"{self.warehouse.place} holds {KINDS[held]}, and this load would add "
                f"{KINDS[kind]};{own} {self.warehouse.another}. Nothing was loaded."
            )

    def _gather(self, kind: Kind, known: dict[str, tuple], folder: Path) -> Batch:
        """Read the new files of a kind; record the new identities of known ones."""
        self.progress(f"reading {kind.name}")
        identities = {key: Identity(*row[2:]) for key, row in known.items()}
        batch = Batch(kind, self.places[kind], self.settings, self.one_by_one)
        try:
            hashes = {key: digest for key, (digest, *_) in known.items()}
            trusted = {} if self.reads_all else identities
            gather_files(batch, folder, hashes, trusted, self.warehouse.copies)
        except ChangedFile as changed:
            if not self.replace:
                raise
            raise _Replace(known[changed.key][1]) from None
        moved = [(key, *now[1:]) for key, now in batch.verified.items() if now != identities[key]]
        if moved:  # else they would be read at every load
            self.warehouse.run("load/restored_files")
            self._append_rows("restored_files", ["file_key", *IDENTITY], moved)
            self.warehouse.run("load/record_restored_files")
        return batch

    def _append_rows(self, table: str, columns: list[str], rows: list[tuple], **constants) -> None:
        """Add rows to a table."""
        import pandas as pd

        # As objects, then as Int64: pandas would make a whole number that may be NULL a double.
        frame = pd.DataFrame(rows, columns=columns, dtype=object)
        frame = frame.astype({name: "Int64" for name in IDENTITY if name in columns})
        self.warehouse.append(table, frame.assign(**constants))

    def _stage_batch(self, batch: Batch) -> None:
        """Bring the batch's parts into its staging table, every record or none."""
        kind = batch.kind
        count = f"{len(batch.files):,} files of" if batch.remote else f"{batch.records:,}"
        self.progress(f"staging {count} {kind.name}")
        if not batch.parts:
            return
        try:
            counts = self.warehouse.stage(kind.name, kind.fields, batch.parts, self.batch_id)
        except CopyError as error:
            if not error.has_bad_records:
                raise LoadError(f"{error} Nothing was loaded.") from error
            raise _Refused(batch.find_files(error.bad_parts), str(error)) from error
        in_place = set(batch.parts)
        for file in batch.files:
            if file.path in in_place:
                require_unchanged(file)
            file.records = counts.get(file.key, file.records)
        table = {"table": f"staging_{kind.name}"}
        ((staged,),) = self.warehouse.rows("status/staged", table, batch_id=self.batch_id)
        if staged != batch.records:
            said = f"{batch.place}: {batch.records:,} lines hold {staged:,} records."
            raise _Refused(batch.find_files(), said)
        audit = f"staging_{kind.name}_required"
        if Scope(self.warehouse, self.settings, self.batch_id).count_offending([audit])[audit]:
            said = f"{batch.place}: a record of {kind.name} lacks a field, or has what can't be."
            raise _Refused(batch.find_files(), said)

    def _keep_rejects(self, batches: list[Batch]) -> None:
        """Keep the bad records in load_rejects; raise BadRecords when they are too many."""
        self.result.rejects = rejects = [one for batch in batches for one in batch.rejects]
        records = sum(batch.records for batch in batches) + len(rejects)
        most = self.settings.load.max_rejects
        if len(rejects) > (float(most[:-1]) / 100 * records if "%" in most else int(most)):
            raise BadRecords(self.result.describe_rejects())
        if rejects:
            self._append_rows("load_rejects", list(Reject._fields), rejects, batch_id=self.batch_id)

    def _record_files(self, batches: list[Batch], known: list[dict[str, tuple]]) -> None:
        """Enter the new files in the ledger, and note those whose content another file brought."""
        rows = []
        for batch, ledger in zip(batches, known, strict=True):
            brought_by = {digest: key for key, (digest, *_) in ledger.items()}
            for file in batch.files:
                other = brought_by.setdefault(file.content_hash, file.key)
                if file.records and other != file.key:
                    self.result.same_content[file.key] = other
                counts = (file.size, file.content_hash, file.records, file.rejects)
                identity = (file.identity or (None,) * 5)[1:]
                rows.append((batch.kind.name, file.key, *counts, *identity))
        if rows:
            constants = {"batch_id": self.batch_id, "loaded_at": self.loaded_at}
            self._append_rows("load_files", LEDGER + IDENTITY, rows, **constants)
        self.recorded = len(rows)
