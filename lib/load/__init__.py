"""The load protocol: list, begin, stage, reject, merge, record, audit, commit.

One transaction: what was there stays visible until everything new is in, and stays if anything
fails. The rules that the numbers depend on are in the SQL files, in lib/sql/load and lib/sql/audit.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from lib import UserError, scratch
from lib.config import Settings
from lib.load.records import EVENTS, SONGS, Kind, Reject, limit_events
from lib.load.source import Batch, ChangedFile, Identity, gather
from lib.warehouse.base import PATIENCE, STAR, Busy, Conflict, ConnectionLost, CopyError, Warehouse
from lib.warehouse.templates import WarehouseError, columns_of, snake_case

if TYPE_CHECKING:
    from pandas import DataFrame

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
EARLIER = ("rekey_songplays", "rematch_songplays")  # what is done to plays of earlier loads
STEPS = len(MERGES) + 5  # read and stage songs and events, merge, audit
STAGE_AUDITS = ("staging_events_required", "staging_songs_required")
STAR_AUDITS = (
    "counts_reconcile",
    "keys_are_unique",
    "no_orphan_keys",
    "user_versions_follow",
    "plays_have_their_version",
    "coverage_reaches_floor",
    "every_play_is_there",
)
# What is done one span of time after the other, so that its memory doesn't grow with the load.
BY_SPAN = ("merge_songplays", "merge_duplicates", "every_play_is_there")
NO_TIME = (datetime(1970, 1, 1), datetime(1970, 1, 1))
RECORDED = ["file_key", "size_bytes", "content_hash", "row_count", "reject_count"]
IDENTITY = list(Identity._fields[1:])  # columns of the ledger; the size is one for every file
NO_IDENTITY = Identity(*[None] * 5)
SHOWN = 5  # offending rows that a failed audit shows
KINDS = {"sample": "the sample, which is invented", "own": "other data than the sample"}
LISTED = 20  # bad records that a load which they stop lists
TELLING = 20  # records, from which on a field that none has is taken for a missing one
BRIEFLY = 2.0  # seconds to wait for another load to end before that is said
TRIES, PAUSE = 5, 1.0  # at a load that conflicts with another session; seconds, at random


class LoadError(UserError):
    """A load that was stopped; the warehouse is as it was before."""


class BadRecords(LoadError):
    """More records that can't be loaded than may be left out."""


class _Unparsed(Exception):
    """The fast parse of some files failed; reading them record by record will say where."""

    def __init__(self, files: set[str], reason: str):
        super().__init__(reason)
        self.files = files


class _Replace(Exception):
    """A file has changed, and what came with it is to be loaded anew."""

    def __init__(self, batch_id: int):
        self.batch_id = batch_id


@dataclass
class Load:
    """What a load did: files and rows by table, rejects, audits, coverage.

    `audits`: by name, the number of rows that each one found. `unknown_fields`: by name, a file
    that has it. `verified`: whether the known files were read again. `same_content`: each new file
    whose content another file brought, and that file. `failure`: why nothing was loaded.
    """

    new_files: dict[str, int]
    known_files: dict[str, int]
    rows_before: dict[str, int]
    rows: dict[str, int] = field(default_factory=dict)
    rejects: list[Reject] = field(default_factory=list)
    unknown_fields: dict[str, str] = field(default_factory=dict)
    audits: dict[str, int] = field(default_factory=dict)
    plays: int = 0
    matched: int = 0
    verified: bool = False
    same_content: dict[str, str] = field(default_factory=dict)
    failure: str = ""

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

    def rejects_frame(self):
        """Return one row a record that was left out: file_key, line, field, reason, raw_text."""
        import pandas as pd

        columns = ["file_key", "line", "field", "reason", "raw_text"]
        return pd.DataFrame(self.rejects, columns=columns)

    def audits_frame(self):
        """Return one row an audit: its name, how many rows it found, and whether that is none."""
        import pandas as pd

        frame = pd.DataFrame({"audit": list(self.audits), "found": list(self.audits.values())})
        return frame.assign(passed=frame["found"] == 0)

    def save(self, folder: str | Path) -> Path:
        """Write what the load did, or why it did nothing, to `folder`/load.json."""
        file = Path(folder) / "load.json"
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            said = {"coverage": self.coverage, "summary": self.failure or str(self)}
            text = json.dumps(asdict(self) | said, indent=2)
            file.write_text(text + "\n")
        except OSError as error:
            done = "The load failed" if self.failure else "The load is in the warehouse"
            raise LoadError(f"{done}; {file} can't be written: {error.strerror}.") from None
        return file

    def __str__(self) -> str:
        new, known = sum(self.new_files.values()), sum(self.known_files.values())
        verified = f"{known:,} files verified, unchanged"
        if not new and self.verified:
            return f"Nothing new: {verified}."
        if not new:
            return f"Nothing new: all {known:,} files were loaded before. Nothing was changed."
        parts = ", ".join(f"{count:,} of {kind}" for kind, count in self.new_files.items())
        before = verified if self.verified else f"{known:,} files were loaded before"
        skipped = f"; {before}" if known else ""
        rejected = f"{len(self.rejects):,} records were left out. " if self.rejects else ""
        unknown = "".join(
            f"\nThe field {name} is new to this version and was not loaded: see {file}."
            for name, file in self.unknown_fields.items()
        )
        return (
            f"Loaded {new:,} new files ({parts}){skipped}. {rejected}"
            f"{len(self.audits)} audits passed.\n{self.coverage:.1%} of {self.plays:,} plays are "
            f"matched to a song of the catalogue.{unknown}{self._describe_same_content()}"
        )

    def _describe_same_content(self) -> str:
        if not self.same_content:
            return ""
        new, other = next(iter(self.same_content.items()))
        return (
            f"\n{len(self.same_content):,} files hold the same content as others, such as {new} "
            f"and {other}; their records count once."
        )


def possible_times(settings: Settings) -> range:
    """Return the times that an event can have, in milliseconds since 1970.

    They end a day from now: clocks differ.
    """
    earliest = datetime.combine(settings.load.earliest, datetime.min.time(), UTC)
    latest = datetime.now(UTC) + timedelta(days=1)
    return range(*(int(end.timestamp() * 1000) for end in (earliest, latest)))


def bind_times(times: range) -> dict[str, int]:
    """Return the ends of a range of times as statements bind them."""
    return {"earliest_ms": times.start, "latest_ms": times.stop}


class Scope:
    """What merges and audits are about: the batches from `first_batch` on, by the time of their
    events. `all`: there is nothing else."""

    def __init__(self, warehouse: Warehouse, settings: Settings, first_batch: int):
        self.warehouse, self.all = warehouse, first_batch <= 1
        self.told = {"all": self.all, "levels": settings.load.level_names}
        self.values = {"first_batch": first_batch, "min_coverage": settings.load.min_coverage}
        self.values |= bind_times(possible_times(settings))
        self.spans = warehouse.rows("load/spans", first_batch=first_batch) or [NO_TIME]

    def _each(self, name: str) -> Iterator[dict]:
        """Yield the values that are bound in a statement, as often as it is run."""
        spans = self.spans if name in BY_SPAN else [(self.spans[0][0], self.spans[-1][1])]
        for since, until in spans:
            yield self.values | {"since": since, "until": until}

    def merge(self, step: str) -> None:
        """Run lib/sql/load/`step`.sql."""
        for values in self._each(step):
            self.warehouse.run(f"load/{step}", **values)

    def audit(self, names: Iterable[str]) -> dict[str, int]:
        """Return by name how many rows each lib/sql/audit/`name`.sql finds, all asked together."""
        found = Counter(dict.fromkeys(names, 0))
        for _, some in groupby(names, BY_SPAN.__contains__):
            told = self.told | {"audits": list(some)}
            for values in self._each(told["audits"][0]):
                found.update(dict(self.warehouse.rows("status/found", told, **values)))
        return dict(found)

    def offending(self, name: str) -> DataFrame:
        """Return the rows that lib/sql/audit/`name`.sql finds."""
        import pandas as pd

        audit = f"audit/{name}"
        found = [self.warehouse.frame(audit, self.told, **each) for each in self._each(name)]
        return pd.concat(found, ignore_index=True)


def audit_warehouse(warehouse: Warehouse, settings: Settings) -> dict[str, int]:
    """Ask every audit over all loads; return by name how many rows each one finds."""
    return Scope(warehouse, settings, 0).audit((*STAGE_AUDITS, *STAR_AUDITS))


@dataclass
class _Order:
    """What is asked of a load, and what its earlier tries have learnt.

    `checked`: the files to read record by record. `replaced`: the batches to load anew.
    `patience`: seconds to wait for another load to end.
    """

    warehouse: Warehouse
    settings: Settings
    progress: Callable[[str], None]
    keep: Path | None
    replace: bool
    full_refresh: bool
    verify: bool
    checked: set[str] = field(default_factory=set)
    replaced: set[int] = field(default_factory=set)
    patience: float = BRIEFLY

    @property
    def reads_all(self) -> bool:
        """Whether to read also the files that look as they were when they were loaded."""
        return self.verify or self.replace or self.full_refresh


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
    keep = Path(keep) if keep else None
    order = _Order(warehouse, settings, progress, keep, replace, full_refresh, verify)
    done = _load(order)
    if keep:
        done.save(keep)
    return done


def _load(order: _Order) -> Load:
    """Try until a load is in, or can't be: each failure says what the next try does better."""
    progress, conflicts = order.progress, 0
    while True:
        try:
            return _try(order)
        except _Unparsed as failure:
            if failure.files <= order.checked:
                raise LoadError(f"{failure} Nothing was loaded.") from None
            order.checked |= failure.files
            progress(f"{failure} So {len(failure.files):,} files are read record by record.")
        except _Replace as changed:
            order.replaced.add(changed.batch_id)
            progress(f"a file of load {changed.batch_id} has changed; replacing that load")
        except Busy as busy:
            if order.patience == PATIENCE:
                raise LoadError(f"{busy} Nothing was loaded.") from None
            order.patience = PATIENCE
            progress(f"another load is running; waiting at most {PATIENCE / 60:.0f} minutes for it")
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


def _try(order: _Order) -> Load:
    with scratch.make_folder() as folder:
        attempt = _Attempt(order, folder)
        try:
            with order.warehouse.transaction(order.patience):
                attempt.run()
        except ConnectionLost as lost:
            try:
                committed = attempt.committed()
            except WarehouseError as error:
                raise LoadError(
                    f"{lost} Whether the load was committed can't be asked now ({error}). Load "
                    "again: what is in the ledger is not loaded twice."
                ) from None
            if not committed:
                raise LoadError(f"{lost} Nothing was loaded; load again.") from None
        except (Busy, Conflict):
            raise
        except WarehouseError as error:
            raise LoadError(f"{error}\nNothing was loaded.") from error
        return attempt.result


class _Attempt:
    """One try at a load, within a transaction."""

    def __init__(self, order: _Order, scratch: Path):
        self.order, self.scratch = order, scratch
        self.warehouse, self.settings = order.warehouse, order.settings
        self.progress = order.progress
        self.loaded_at = datetime.now(UTC).replace(tzinfo=None)
        self.times, self.levels = possible_times(self.settings), self.settings.load.level_names
        self.batches: list[Batch] = []
        self.known: dict[Kind, dict[str, str]] = {}
        self.identities: dict[str, Identity] = {}
        self.recorded = 0

    def run(self) -> None:
        """Stage, merge, record and audit what is new; `result` says what that was."""
        ((self.batch_id,),) = self.warehouse.rows("load/next_batch")
        self.warehouse.require_model()
        self._claim()
        before = self.warehouse.row_counts()
        forgotten = self._forget()
        events = limit_events(self.times, self.levels)
        places = {SONGS: self.settings.song_data, events: self.settings.log_data}
        for kind, place in places.items():
            self.progress(f"reading {kind.name}")
            self.batches.append(self._gathered(kind, place, self.warehouse.copies))
        self._refuse_if_gone(forgotten)
        self._record_restored()
        self.result = Load(
            {batch.kind.name: len(batch.files) for batch in self.batches},
            {batch.kind.name: batch.known for batch in self.batches},
            before,
            verified=self.order.reads_all,
        )
        rebuild = self.order.full_refresh or bool(self.order.replaced)
        if rebuild or any(batch.files for batch in self.batches):
            self._bring_in(places, rebuild)
        self.result.rows = self.warehouse.row_counts()
        self.result.plays, self.result.matched = self.warehouse.coverage()

    def _claim(self) -> None:
        """Say in the warehouse which kind of data it holds; raise LoadError for the other kind."""
        held, kind = self.warehouse.data_kind, self.settings.data_kind
        if held is None:
            self.warehouse.run("load/claim", data_kind=kind)
        elif held != kind:
            forgotten = " name your data with LOG_DATA and SONG_DATA, or" if held == "own" else ""
            raise LoadError(
                f"{self.warehouse.place} holds {KINDS[held]}, and this load would add "
                f"{KINDS[kind]};{forgotten} {self.warehouse.another}. Nothing was loaded."
            )

    def committed(self) -> bool:
        """Ask the ledger whether this load was committed when its connection broke."""
        if not self.recorded:
            return False
        self.warehouse.reopen()
        about = {"batch_id": self.batch_id, "loaded_at": self.loaded_at}
        ((files,),) = self.warehouse.rows("load/committed", **about)
        return files == self.recorded

    def _forget(self) -> set[str]:
        """Take out the batches that are loaded anew, and return the keys of their files."""
        if not self.order.replaced:
            return set()
        ledger = [row for k in (SONGS, EVENTS) for row in self._ledger(k)]
        for batch_id in self.order.replaced:
            self.warehouse.run("load/forget", batch_id=batch_id)
        return {key for key, _, batch_id, *_ in ledger if batch_id in self.order.replaced}

    def _refuse_if_gone(self, forgotten: set[str]) -> None:
        gone = forgotten - {file.key for batch in self.batches for file in batch.files}
        if gone:
            raise LoadError(
                f"{min(gone)} was loaded together with a file that has changed, and is no longer "
                "there; bring it back, or start a new warehouse. Nothing was loaded."
            )

    def _ledger(self, kind: Kind) -> list[tuple]:
        return self.warehouse.rows("load/ledger", kind=kind.name)

    def _gathered(self, kind: Kind, place: str, in_place: bool) -> Batch:
        ledger = {key: row for key, *row in self._ledger(kind)}
        self.known[kind] = known = {key: digest for key, (digest, *_) in ledger.items()}
        about = {"checked": self.order.checked, "settings": self.settings, "in_place": in_place}
        self.identities |= {key: Identity(*row) for key, (_, _, *row) in ledger.items()}
        about["trusted"] = {} if self.order.reads_all else self.identities
        try:
            return gather(kind, place, known, self.scratch, **about)
        except ChangedFile as changed:
            if not self.order.replace:
                raise
            raise _Replace(ledger[changed.key][1]) from None

    def _bring_in(self, places: dict, rebuild: bool) -> None:
        for batch in self.batches:
            read = f"{len(batch.files):,} files of" if batch.remote else f"{batch.records:,}"
            self.progress(f"staging {read} {batch.kind.name}")
            self._stage(batch, places[batch.kind])
        self._reject()
        for batch in self.batches:
            self._refuse_drift(batch, places[batch.kind])
            self._refuse_if_empty(batch, places[batch.kind])
            self._find_same_content(batch)
        self._record()
        self._build_star(rebuild)

    def _build_star(self, rebuild: bool) -> None:
        """Merge what this load has staged, or everything into a new set of tables; then audit."""
        new_set = {"tables": STAR, "home": self.warehouse.home}
        if rebuild:
            self.progress("building the star anew")
            self.warehouse.run("refresh/begin", new_set)
        scope = Scope(self.warehouse, self.settings, 0 if rebuild else self.batch_id)
        for step in [step for step in MERGES if not (scope.all and step in EARLIER)]:
            self.progress(step.replace("_", " "))
            scope.merge(step)
        self.progress("auditing")
        self._audit(scope)
        if rebuild:
            self.warehouse.run("refresh/swap", new_set)

    def _stage(self, batch: Batch, place: str) -> None:
        """Bring the batch's parts into its staging table, every record or none."""
        if not batch.parts:
            return
        try:
            batch.count(self.warehouse.stage(batch, self.batch_id))
        except CopyError as error:
            if not error.bad:
                raise LoadError(f"{error} Nothing was loaded.") from error
            files = set().union(*(batch.files_of(*each) for each in error.bad.items()))
            raise _Unparsed(files, str(error)) from error
        batch.require_unchanged()
        files, table = {file.key for file in batch.files}, {"table": f"staging_{batch.kind.name}"}
        ((staged,),) = self.warehouse.rows("status/staged", table, batch_id=self.batch_id)
        if staged != batch.records and batch.remote:
            batch.count(self._counted(batch, place))  # the engine counts lines, not records
        if staged != batch.records:
            reason = f"{place}: {batch.records:,} records were read and {staged:,} staged."
            raise _Unparsed(files, reason)
        audit = f"audit/staging_{batch.kind.name}_required"
        values = {"first_batch": self.batch_id} | bind_times(self.times)
        if self.warehouse.rows(audit, {"levels": self.levels}, **values):
            reason = f"{place}: a record of {batch.kind.name} lacks a field, or has what can't be."
            raise _Unparsed(files, reason)

    def _counted(self, batch: Batch, place: str) -> dict[str, int]:
        """Return the records of each of a batch's files, read here."""
        self.progress(f"counting the {batch.kind.name} in files that are not one a line")
        read = self._gathered(batch.kind, place, in_place=False)
        return {file.key: file.records for file in read.files}

    def _reject(self) -> None:
        """Keep the bad records in load_rejects; raise BadRecords when they are too many."""
        self.result.rejects = rejects = [one for batch in self.batches for one in batch.rejects]
        records = sum(batch.records for batch in self.batches) + len(rejects)
        most = self.settings.load.max_rejects
        allowed = float(most[:-1]) / 100 * records if most.endswith("%") else int(most)
        if len(rejects) > allowed:
            self._fail(BadRecords(_too_many(self.result.rejects_frame())))
        if rejects:
            frame = self.result.rejects_frame()
            self.warehouse.append("load_rejects", frame.assign(batch_id=self.batch_id))

    def _refuse_drift(self, batch: Batch, place: str) -> None:
        """Raise LoadError when a field is missing, or holds something else in a whole file."""
        kind = batch.kind
        for file in batch.files:
            if not file.records and file.rejects > 1:
                own = [one for one in batch.rejects if one.file_key == file.key]
                if own[0].field and len({one.field for one in own}) == 1:
                    raise LoadError(
                        f"Not one of the {len(own):,} records of {file.key} can be loaded: "
                        f"{own[0].reason}. It has changed. Nothing was loaded."
                    )
        for name in batch.seen.keys() - kind.fields.keys():
            self.result.unknown_fields[name] = batch.seen[name]
        missing = [name for name in kind.fields if name not in batch.seen]
        if not batch.seen or not missing or batch.records < TELLING:
            return
        columns = {"table": f"staging_{kind.name}", "columns": columns_of(missing)}
        filled = self.warehouse.frame("status/filled", columns, batch_id=self.batch_id)
        for name in missing:
            if not filled[snake_case(name)][0]:
                raise LoadError(
                    f"No record of {kind.name} in {place} has a field {name}, nor has the first of "
                    f"{batch.files[0].key}; was it renamed? Nothing was loaded."
                )

    def _refuse_if_empty(self, batch: Batch, place: str) -> None:
        if not batch.known and batch.files and not batch.records:
            raise LoadError(
                f"{place} holds {len(batch.files):,} files and not one record of "
                f"{batch.kind.name}; name the folder that holds them. Nothing was loaded."
            )

    def _find_same_content(self, batch: Batch) -> None:
        """Note the new files that hold what another file brought, here or in an earlier load."""
        brought_by = {digest: key for key, digest in self.known[batch.kind].items()}
        for file in batch.files:
            other = brought_by.setdefault(file.content_hash, file.key)
            if file.records and other != file.key:
                self.result.same_content[file.key] = other

    def _audit(self, scope: Scope) -> None:
        """Ask every audit, and raise LoadError for those that find a row."""
        found = scope.audit(STAR_AUDITS)
        self.result.audits = dict.fromkeys(STAGE_AUDITS, 0) | found
        failed = []
        for audit in (name for name, rows in found.items() if rows):
            shown = scope.offending(audit).head(SHOWN).to_string(index=False)
            failed.append(
                f"The audit {audit} found {found[audit]:,} rows, so nothing was loaded. "
                f"The first:\n{shown}"
            )
        if failed:
            self._fail(LoadError("\n\n".join(failed)))

    def _fail(self, error: LoadError) -> NoReturn:
        """Keep what was found, and raise."""
        self.result.failure = str(error)
        if self.order.keep:
            self.result.save(self.order.keep)
        raise error

    def _record(self) -> None:
        """Enter the batches' files in the ledger."""
        import pandas as pd

        rows = [
            (batch.kind.name, *file[:-1], *(file.identity or NO_IDENTITY)[1:])
            for batch in self.batches
            for file in batch.files
        ]
        # As objects: pandas would make a whole number that may be NULL a double.
        files = pd.DataFrame(rows, columns=["kind", *RECORDED, *IDENTITY], dtype=object)
        files = files.astype(dict.fromkeys(IDENTITY, "Int64"))
        files = files.assign(batch_id=self.batch_id, loaded_at=self.loaded_at)
        if len(files):
            self.warehouse.append("load_files", files)
        self.recorded = len(files)

    def _record_restored(self) -> None:
        """Enter the new identities of known files, so that they are not read at every load."""
        import pandas as pd

        read = [pair for batch in self.batches for pair in batch.verified.items()]
        rows = [(key, *now[1:]) for key, now in read if now != self.identities[key]]
        if rows:
            restored = pd.DataFrame(rows, columns=["file_key", *IDENTITY])
            self.warehouse.run("load/restored_files")
            self.warehouse.append("restored_files", restored)
            self.warehouse.run("load/record_restored_files")


def _too_many(rejected) -> str:
    """Say which records can't be loaded, and what can be done. `rejected`: see rejects_frame."""
    first, count = rejected.iloc[0], len(rejected)
    it = "that record" if count == 1 else f"these {count:,} records"
    said = (
        f"{first['file_key']}, line {first['line']}: {first['reason']}. Nothing was loaded; mend "
        f"or take out {it}, or let the load leave out as many ([LOAD] MAX_REJECTS), then load again"
    )
    if count == 1:
        return f"{said}."
    table = rejected[["file_key", "line", "field", "reason"]].head(LISTED).to_string(index=False)
    more = f"\n… and {count - LISTED:,} more" if count > LISTED else ""
    return f"{said}:\n{table}{more}"
