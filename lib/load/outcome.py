"""What a load did, or why it did nothing; and whether its files have the format that is known."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from lib import UserError
from lib.load.files import Batch
from lib.load.records import Reject
from lib.warehouse.base import Warehouse
from lib.warehouse.templates import name_columns, to_snake_case

ENOUGH = 20  # records, from which on a field that none has is taken for a missing one
SHOWN_REJECTS = 20  # bad records that a load which they stop shows


class LoadError(UserError):
    """A load that was stopped; the warehouse is as it was before."""


class BadRecords(LoadError):
    """More records that can't be loaded than may be left out."""


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

        return pd.DataFrame(self.rejects, columns=Reject._fields)

    def audits_frame(self):
        """Return one row an audit: its name, how many rows it found, and whether that is none."""
        import pandas as pd

        frame = pd.DataFrame({"audit": list(self.audits), "found": list(self.audits.values())})
        return frame.assign(passed=frame["found"] == 0)

    def save(self, folder: str | Path) -> None:
        """Write what the load did, or why it did nothing, to `folder`/load.json."""
        file = Path(folder) / "load.json"
        rejects = [reject._asdict() for reject in self.rejects]
        summary = {"coverage": self.coverage, "summary": self.failure or str(self)}
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps(asdict(self) | {"rejects": rejects} | summary, indent=2)
            file.write_text(text + "\n")
        except OSError as error:
            done = "The load failed" if self.failure else "The load is in the warehouse"
            raise LoadError(f"{done}; {file} can't be written: {error.strerror}.") from None

    def describe_rejects(self) -> str:
        """Return which records can't be loaded, and what can be done."""
        first, count = self.rejects[0], len(self.rejects)
        it = "that record" if count == 1 else f"these {count:,} records"
        said = (
            f"{first.file_key}, line {first.line}: {first.reason}. Nothing was loaded; mend or "
            f"take out {it}, or let the load leave out as many ([LOAD] MAX_REJECTS), then load "
            "again"
        )
        if count == 1:
            return f"{said}."
        table = self.rejects_frame().drop(columns="raw_text").head(SHOWN_REJECTS)
        more = f"\n… and {count - SHOWN_REJECTS:,} more" if count > SHOWN_REJECTS else ""
        return f"{said}:\n{table.to_string(index=False)}{more}"

    def __str__(self) -> str:
        new, known = sum(self.new_files.values()), sum(self.known_files.values())
        verified = f"{known:,} files verified, unchanged"
        if not new and self.verified:
            return f"Nothing new: {verified}."
        if not new:
            return f"Nothing new: all {known:,} files were loaded before. Nothing was changed."
        kinds = ", ".join(f"{count:,} of {kind}" for kind, count in self.new_files.items())
        before = verified if self.verified else f"{known:,} files were loaded before"
        rejected = f"{len(self.rejects):,} records were left out. " if self.rejects else ""
        text = (
            f"Loaded {new:,} new files ({kinds}){f'; {before}' if known else ''}. {rejected}"
            f"{len(self.audits)} audits passed.\n{self.coverage:.1%} of {self.plays:,} plays are "
            "matched to a song of the catalogue."
        )
        for name, file in self.unknown_fields.items():
            text += f"\nThe field {name} is new to this version and was not loaded: see {file}."
        for new_file, other in [*self.same_content.items()][:1]:
            text += (
                f"\n{len(self.same_content):,} files hold the same content as others, such as "
                f"{new_file} and {other}; their records count once."
            )
        return text


def require_known_format(batch: Batch, warehouse: Warehouse, batch_id: int) -> None:
    """Raise LoadError when a field is missing, or holds something else in a whole file."""
    kind, place = batch.kind, batch.place
    if batch.files and not batch.known and not batch.records:
        raise LoadError(
            f"{place} holds {len(batch.files):,} files and not one record of {kind.name}; name the "
            "folder that holds them. Nothing was loaded."
        )
    for file in [file for file in batch.files if not file.records and file.rejects > 1]:
        own = [reject for reject in batch.rejects if reject.file_key == file.key]
        if own[0].field and len({reject.field for reject in own}) == 1:
            raise LoadError(
                f"Not one of the {len(own):,} records of {file.key} can be loaded: "
                f"{own[0].reason}. It has changed. Nothing was loaded."
            )
    missing = [name for name in kind.fields if name not in batch.first_keys]
    if not batch.first_keys or not missing or batch.records < ENOUGH:
        return
    columns = {"table": f"staging_{kind.name}", "columns": name_columns(missing)}
    filled = warehouse.frame("status/filled", columns, batch_id=batch_id)
    for name in missing:
        if not filled[to_snake_case(name)][0]:
            raise LoadError(
                f"No record of {kind.name} in {place} has a field {name}, nor has the first of "
                f"{batch.files[0].key}; was it renamed? Nothing was loaded."
            )
