"""What a target needs to exist: a plan of it, its creation, and its removal.

A plan is shown before it is carried out. On `local` creating is free and done at once; removing is
done only when confirmed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lib import ROOT, UserError, source, warehouse
from lib.config import Settings


class ProvisionError(UserError):
    """Something that can't be created, or is not ours to remove."""


@dataclass(frozen=True)
class Step:
    """One resource: what it is, where, its state, and what will be done with it."""

    resource: str
    name: str
    state: str
    action: str
    apply: Callable[[], object] | None = None


@dataclass(frozen=True)
class Plan:
    """The steps of creating or removing everything for a target, in order."""

    target: str
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        rows = [(step.action, step.resource, step.name, step.state, "free") for step in self.steps]
        table = [("action", "resource", "name", "state", "cost"), *rows]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]
        return "\n".join([f"target {self.target}", "", *lines])

    @property
    def pending(self) -> tuple[Step, ...]:
        """The steps that would change something."""
        return tuple(step for step in self.steps if step.apply)

    @property
    def how_to_confirm(self) -> str:
        """The words that would carry the plan out."""
        if not self.pending:
            return "There is nothing to remove."
        listed = ", ".join(step.name for step in self.pending)
        return (
            f"Nothing was removed. To remove {listed}: set confirm = True above and run this "
            "notebook again, or run, with the options that you ran before: "
            "python -m lib.run --only 05 --teardown"
        )

    def apply(self) -> str:
        """Carry the plan out, and say what was done."""
        for step in self.pending:
            step.apply()
        done = ", ".join(f"{step.action} {step.name}" for step in self.pending)
        return f"Done: {done}." if done else "Nothing to do."


def creation(settings: Settings) -> Plan:
    """Return the plan of creating what the target lacks: the database file, the sample.

    Raises ProvisionError when the data's folder is missing, WarehouseError when the database file
    is something else.
    """
    _require_local(settings)
    return Plan(settings.dwh.target, (_create_database(settings), *_create_data(settings)))


def removal(settings: Settings) -> Plan:
    """Return the plan of removing what the project made: the database file, the sample.

    Raises ProvisionError when the file holds something that this project did not make.
    """
    _require_local(settings)
    return Plan(settings.dwh.target, (_remove_database(settings), *_remove_data(settings)))


def _require_local(settings: Settings) -> None:
    if settings.dwh.target != "local":
        raise ProvisionError(
            f"The target {settings.dwh.target} can't be used in this version; use target local."
        )


def _create_database(settings: Settings) -> Step:
    file = settings.database
    name = warehouse.shown(file)
    if file.exists():
        warehouse.connect(settings, read_only=True).close()
        return Step("database", name, "exists", "keep")
    return Step("database", name, "missing", "create", lambda: _make_database(settings))


def _make_database(settings: Settings) -> None:
    try:
        settings.database.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        folder = settings.database.parent
        raise ProvisionError(f"The folder {folder} can't be made: {error.strerror}.") from None
    warehouse.connect(settings, create=True).close()


def _create_data(settings: Settings) -> tuple[Step, ...]:
    if not settings.uses_sample:
        for place in (settings.log_data, settings.song_data):
            source.listing(place)  # a wrong folder is said now, before anything is made
        return _own_data(settings)
    folder = _sample_folder()
    name = warehouse.shown(folder)
    if (folder / "sample.json").exists():
        return (Step("sample data", name, "exists", "keep"),)
    return (Step("sample data", name, "missing", "create", lambda: _sample().make(folder)),)


def _own_data(settings: Settings) -> tuple[Step, ...]:
    named = {"event logs": settings.log_data, "song metadata": settings.song_data}
    return tuple(Step(resource, place, "yours", "keep") for resource, place in named.items())


def _sample_folder() -> Path:
    return ROOT / "data" / "sample"


def _sample():
    from lib import sample  # only who makes or removes it needs the generator

    return sample


def _remove_database(settings: Settings) -> Step:
    file = settings.database
    name = warehouse.shown(file)
    if not file.exists():
        return Step("database", name, "missing", "none")
    with_tables = warehouse.connect(settings, read_only=True)
    foreign = with_tables.foreign_tables()
    with_tables.close()
    if foreign:
        raise ProvisionError(
            f"{file} holds tables that this project did not make ({', '.join(foreign)}); "
            "move them elsewhere, or delete the file yourself."
        )
    return Step("database", name, "exists", "delete", lambda: _delete(file))


def _delete(file: Path) -> None:
    file.unlink(missing_ok=True)
    file.with_name(file.name + ".wal").unlink(missing_ok=True)


def _remove_data(settings: Settings) -> tuple[Step, ...]:
    if not settings.uses_sample:
        return _own_data(settings)
    folder = _sample_folder()
    name = warehouse.shown(folder)
    if not folder.exists():
        return (Step("sample data", name, "missing", "none"),)
    return (Step("sample data", name, "exists", "delete", lambda: _sample().remove(folder)),)
