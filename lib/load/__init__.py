"""The load of 03: list files, stage the new ones, merge, audit, record, commit.

One transaction: what was there stays visible until everything new is in, and stays if anything
fails. The rules that the numbers depend on are in the SQL files, in lib/sql/load and lib/sql/audit.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from lib import scratch
from lib.audits import STAGE_AUDITS, STAR_AUDITS, Scope, possible_times
from lib.config import Settings
from lib.load.files import Batch, ChangedFile, Identity, gather, require_unchanged
from lib.load.outcome import BadRecords, Load, LoadError
from lib.load.records import SONGS, Kind, limit_events
from lib.warehouse.base import PATIENCE, STAR, Busy, Conflict, ConnectionLost, CopyError, Warehouse
from lib.warehouse.templates import WarehouseError, columns_of, snake_case

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
STEPS = len(MERGES) + 5  # read and stage songs and events, merge, audit
IDENTITY = list(Identity._fields[1:])  # columns of the ledger; the size is one for every file
KINDS = {"sample": "the sample, which is invented", "own": "other data than the sample"}
SHOWN = 5  # offending rows that a failed audit shows
ENOUGH = 20  # records, from which on a field that none has is taken for a missing one
BRIEFLY = 2.0  # seconds to wait for another load to end before that is said
TRIES, PAUSE = 5, 1.0  # at a load that conflicts with another session; seconds, at random


class _Refused(Exception):
    """An engine refused records of a kind; reading them one by one will say which."""

    def __init__(self, kind: Kind, reason: str):
        super().__init__(reason)
        self.kind = kind


class _Replace(Exception):
    """A file has changed, and what came with it is to be loaded anew."""

    def __init__(self, batch_id: int):
        self.batch_id = batch_id


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

    `progress`: is told each step in a few words.
    `keep`: a folder for load.json, which says what was done, or found; empty: nowhere.
    `replace`: load files that have changed anew, with all that came in the same load.
    `full_refresh`: build the star anew from staging.
    `verify`: read every file again, as these two do, also those that look untouched.
    Raises SourceError, BadRecords or LoadError; the warehouse is then as it was.
    """
    loader = _Loader(warehouse, settings, progress, keep)
    loader.replace, loader.full_refresh = replace, full_refresh
    loader.reads_all = verify or replace or full_refresh
    loader.load()
    if keep:
        loader.result.save(keep)
    return loader.result


class _Loader:
    """A load, tried until it is in or can't be: each failure says what the next try does better."""

    def __init__(self, warehouse: Warehouse, settings: Settings, progress, keep):
        self.warehouse, self.settings = warehouse, settings
        self.progress, self.keep = progress, keep
        events = limit_events(possible_times(settings), settings.load.level_names)
        self.places = {SONGS: settings.song_data, events: settings.log_data}
        self.one_by_one: set[Kind] = set()  # whose records are looked at here
        self.replaced: set[int] = set()  # batches to load anew
        self.known: dict[Kind, dict[str, str]] = {}  # path to hash, as the ledger has it
        self.patience = BRIEFLY

    def load(self) -> None:
        """Try until a load is in; raise LoadError or SourceError when it can't be."""
        conflicts = 0
        while True:
            try:
                return self._try()
            except _Refused as refused:
                if refused.kind in self.one_by_one:
                    raise LoadError(f"{refused} Nothing was loaded.") from None
                self.one_by_one.add(refused.kind)
                self.progress(
                    f"{refused} So new files of {refused.kind.name} are read record by record."
                )
            except _Replace as changed:
                self.replaced.add(changed.batch_id)
                self.progress(f"a file of load {changed.batch_id} has changed; replacing that load")
            except Busy as busy:
                if self.patience == PATIENCE:
                    raise LoadError(f"{busy} Nothing was loaded.") from None
                self.patience = PATIENCE
                self.progress(
                    f"another load is running; waiting at most {PATIENCE / 60:.0f} minutes for it"
                )
            except Conflict as conflict:
                conflicts += 1
                if conflicts == TRIES:
                    said = f"{conflict}\nTried {TRIES} times. Nothing was loaded."
                    raise LoadError(said) from None
                self.progress(
                    f"another session changed the same tables; try {conflicts + 1} of {TRIES}"
                )
                time.sleep(PAUSE * 2**conflicts * random.random())  # noqa: S311 no secret

    def _try(self) -> None:
        self.loaded_at = datetime.now(UTC).replace(tzinfo=None)
        self.recorded = 0
        try:
            with scratch.make_folder() as folder, self.warehouse.transaction(self.patience):
                self._run(folder)
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

    def _run(self, folder: Path) -> None:
        """Load what is new, within a transaction; `result` says what that was."""
        warehouse = self.warehouse
        ((self.batch_id,),) = warehouse.rows("load/next_batch")
        warehouse.require_model()
        self._claim()
        before = warehouse.row_counts()
        forgotten = self._forget()
        self.batches = [self._gather(kind, folder) for kind in self.places]
        self._refuse_if_gone(forgotten)
        self.result = Load(
            {batch.kind.name: len(batch.files) for batch in self.batches},
            {batch.kind.name: batch.known for batch in self.batches},
            before,
            verified=self.reads_all,
        )
        rebuild = self.full_refresh or bool(self.replaced)
        if rebuild or any(batch.files for batch in self.batches):
            for batch in self.batches:
                self._stage(batch)
            self._keep_rejects()
            for batch in self.batches:
                self._refuse_drift(batch)
            self._record()
            self._build_star(rebuild)
        self.result.rows = warehouse.row_counts()
        self.result.plays, self.result.matched = warehouse.coverage()

    def _claim(self) -> None:
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

    def _read_ledger(self, kind: Kind) -> dict[str, tuple]:
        """Return content hash, batch and identity of each known file, by key."""
        return {key: row for key, *row in self.warehouse.rows("load/ledger", kind=kind.name)}

    def _forget(self) -> set[str]:
        """Take out the batches that are loaded anew, and return the keys of their files."""
        rows = [row for kind in self.places for row in self._read_ledger(kind).items()]
        for batch_id in self.replaced:
            self.warehouse.run("load/forget", batch_id=batch_id)
        return {key for key, (_, batch_id, *_) in rows if batch_id in self.replaced}

    def _refuse_if_gone(self, forgotten: set[str]) -> None:
        if gone := forgotten - {file.key for batch in self.batches for file in batch.files}:
            raise LoadError(
                f"{min(gone)} was loaded together with a file that has changed, and is no longer "
                "there; bring it back, or start a new warehouse. Nothing was loaded."
            )

    def _gather(self, kind: Kind, folder: Path) -> Batch:
        """Read the new files of a kind; record the new identities of known ones."""
        self.progress(f"reading {kind.name}")
        ledger = self._read_ledger(kind)
        self.known[kind] = {key: digest for key, (digest, *_) in ledger.items()}
        identities = {key: Identity(*row) for key, (_, _, *row) in ledger.items()}
        try:
            batch = gather(
                kind,
                self.places[kind],
                self.known[kind],
                folder,
                self.settings,
                one_by_one=kind in self.one_by_one,
                in_place=self.warehouse.copies,
                trusted={} if self.reads_all else identities,
            )
        except ChangedFile as changed:
            if not self.replace:
                raise
            raise _Replace(ledger[changed.key][1]) from None
        moved = [(key, *now[1:]) for key, now in batch.verified.items() if now != identities[key]]
        if moved:  # else they would be read at every load
            self.warehouse.run("load/restored_files")
            self._append("restored_files", ["file_key", *IDENTITY], moved)
            self.warehouse.run("load/record_restored_files")
        return batch

    def _append(self, table: str, columns: list[str], rows: list[tuple], **constants) -> None:
        """Add rows to a table."""
        import pandas as pd

        # As objects, and then as Int64: pandas would make a whole number that may be NULL a double.
        frame = pd.DataFrame(rows, columns=columns, dtype=object)
        frame = frame.astype({name: "Int64" for name in IDENTITY if name in columns})
        self.warehouse.append(table, frame.assign(**constants))

    def _stage(self, batch: Batch) -> None:
        """Bring the batch's parts into its staging table, every record or none."""
        kind, place = batch.kind, self.places[batch.kind]
        count = f"{len(batch.files):,} files of" if batch.remote else f"{batch.records:,}"
        self.progress(f"staging {count} {kind.name}")
        if not batch.parts:
            return
        try:
            counts = self.warehouse.stage(kind.name, kind.fields, batch.parts, self.batch_id)
        except CopyError as error:
            if not error.has_bad_records:
                raise LoadError(f"{error} Nothing was loaded.") from error
            raise _Refused(kind, str(error)) from error
        for file in batch.files:
            require_unchanged(file)
            file.records = counts.get(file.key, file.records)
        table = {"table": f"staging_{kind.name}"}
        ((staged,),) = self.warehouse.rows("status/staged", table, batch_id=self.batch_id)
        if staged != batch.records:
            said = f"{place}: {batch.records:,} lines hold {staged:,} records."
            raise _Refused(kind, said)
        audit = f"staging_{kind.name}_required"
        if Scope(self.warehouse, self.settings, self.batch_id).audit([audit])[audit]:
            said = f"{place}: a record of {kind.name} lacks a field, or has what can't be."
            raise _Refused(kind, said)

    def _keep_rejects(self) -> None:
        """Keep the bad records in load_rejects; raise BadRecords when they are too many."""
        self.result.rejects = rejects = [one for batch in self.batches for one in batch.rejects]
        records = sum(batch.records for batch in self.batches) + len(rejects)
        most = self.settings.load.max_rejects
        allowed = float(most[:-1]) / 100 * records if most.endswith("%") else int(most)
        if len(rejects) > allowed:
            self._fail(BadRecords(self.result.describe_rejects()))
        if rejects:
            frame = self.result.rejects_frame()
            self.warehouse.append("load_rejects", frame.assign(batch_id=self.batch_id))

    def _refuse_drift(self, batch: Batch) -> None:
        """Raise LoadError when a field is missing, or holds something else in a whole file."""
        kind, place = batch.kind, self.places[batch.kind]
        if batch.files and not batch.known and not batch.records:
            raise LoadError(
                f"{place} holds {len(batch.files):,} files and not one record of {kind.name}; "
                "name the folder that holds them. Nothing was loaded."
            )
        for file in batch.files:
            if not file.records and file.rejects > 1:
                own = [one for one in batch.rejects if one.file_key == file.key]
                if own[0].field and len({one.field for one in own}) == 1:
                    raise LoadError(
                        f"Not one of the {len(own):,} records of {file.key} can be loaded: "
                        f"{own[0].reason}. It has changed. Nothing was loaded."
                    )
        keys = batch.first_keys
        unknown = {name: key for name, key in keys.items() if name not in kind.fields}
        self.result.unknown_fields |= unknown
        missing = [name for name in kind.fields if name not in keys]
        if not keys or not missing or batch.records < ENOUGH:
            return
        columns = {"table": f"staging_{kind.name}", "columns": columns_of(missing)}
        filled = self.warehouse.frame("status/filled", columns, batch_id=self.batch_id)
        for name in missing:
            if not filled[snake_case(name)][0]:
                raise LoadError(
                    f"No record of {kind.name} in {place} has a field {name}, nor has the first of "
                    f"{batch.files[0].key}; was it renamed? Nothing was loaded."
                )

    def _record(self) -> None:
        """Enter the new files in the ledger, and note those whose content another file brought."""
        rows = []
        for batch in self.batches:
            brought_by = {digest: key for key, digest in self.known[batch.kind].items()}
            for file in batch.files:
                other = brought_by.setdefault(file.content_hash, file.key)
                if file.records and other != file.key:
                    self.result.same_content[file.key] = other
                counts = (file.size, file.content_hash, file.records, file.rejects)
                identity = (file.identity or (None,) * 5)[1:]
                rows.append((batch.kind.name, file.key, *counts, *identity))
        if rows:
            names = ["kind", "file_key", "size_bytes", "content_hash", "row_count", "reject_count"]
            constants = {"batch_id": self.batch_id, "loaded_at": self.loaded_at}
            self._append("load_files", names + IDENTITY, rows, **constants)
        self.recorded = len(rows)

    def _build_star(self, rebuild: bool) -> None:
        """Merge what this load has staged, or everything into a new set of tables; then audit."""
        new_set = {"tables": STAR, "home": self.warehouse.home}
        if rebuild:
            self.progress("building the star anew")
            self.warehouse.run("refresh/begin", new_set)
        scope = Scope(self.warehouse, self.settings, 0 if rebuild else self.batch_id)
        is_all, new_songs = scope.identifiers["all"], bool(self.batches[0].files)
        scope.identifiers["new_songs"] = is_all or new_songs
        skipped = EARLIER if is_all else set() if new_songs else OF_SONGS
        for step in [step for step in MERGES if step not in skipped]:
            self.progress(step.replace("_", " "))
            scope.merge(step)
        ((shared,),) = self.warehouse.rows("load/count_duplicates")
        scope.identifiers["exact"] = bool(shared)
        if shared:
            self.progress("merging duplicates")
            scope.merge("merge_duplicates")
        self.progress("auditing")
        self._audit(scope)
        if rebuild:
            self.warehouse.run("refresh/swap", new_set)

    def _audit(self, scope: Scope) -> None:
        """Ask every audit, and raise LoadError for those that find a row."""
        found = scope.audit(STAR_AUDITS)
        if found["every_play_is_there"]:  # or an event of these hours was delivered twice before
            scope.identifiers["exact"] = True
            found |= scope.audit(["every_play_is_there"])
        self.result.audits = dict.fromkeys(STAGE_AUDITS, 0) | found
        failed = []
        for audit in (name for name, rows in found.items() if rows):
            shown = scope.find_offending(audit).head(SHOWN).to_string(index=False)
            failed.append(
                f"The audit {audit} found {found[audit]:,} rows, so nothing was loaded. "
                f"The first:\n{shown}"
            )
        if failed:
            self._fail(LoadError("\n\n".join(failed)))

    def _fail(self, error: LoadError) -> NoReturn:
        """Keep what was found, and raise."""
        self.result.failure = str(error)
        if self.keep:
            self.result.save(self.keep)
        raise error
