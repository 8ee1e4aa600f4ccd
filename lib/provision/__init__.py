"""What a target needs to exist: a plan of it, its creation, and its removal.

A plan is shown before it is carried out. On `local` creating is free and done at once; removing,
and anything on `redshift`, is done only when confirmed.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

from lib import ROOT, shorten_path, warehouse
from lib.config import DATABASES, Settings, located
from lib.load import files
from lib.provision.plan import Plan, ProvisionError, Step

SAMPLE = ROOT / "data" / "sample"


def creation(settings: Settings, run: str = "") -> Plan:
    """Return the plan of creating what the target lacks: a database or a cluster, the sample.

    `run`: the name of the run that is to own it; empty for a notebook that a person steps through.
    Raises ProvisionError when the data's folder is missing or something can't be created,
    WarehouseError when the database file is something else, AwsError when AWS refuses.
    """
    if settings.dwh.target == "redshift":
        from lib.provision import cluster

        plan = cluster.creation(settings, run=run)
        return replace(plan, steps=(*_create_data(settings), *plan.steps))
    return Plan(settings.dwh.target, (_create_database(settings), *_create_data(settings)))


def removal(settings: Settings, run: str = "", everything: bool = False) -> Plan:
    """Return the plan of removing what the project made: the database or cluster, the sample.

    `run`: on `redshift` only what that run created is removed, unless `everything` is.
    Raises ProvisionError when the file holds something that this project did not make.
    """
    if settings.dwh.target == "redshift":
        from lib.provision import cluster

        return cluster.removal(settings, run=run, everything=everything)
    steps = (_remove_database(settings), *_remove_data(settings))
    listed = ", ".join(step.name for step in steps if step.apply)
    confirmation = (
        f"Nothing was removed. To remove {listed}:\n"
        "set confirm = True above and run this notebook again, or run, with the options that you\n"
        "ran before: python -m lib.run --only 05 --teardown"
    )
    return Plan(settings.dwh.target, steps, confirmation=confirmation)


def describe_end(settings: Settings, run: str, keep: bool, everything: bool) -> str:
    """Return what the run removes from AWS at its end and what it keeps; '' on `local`.

    `keep`: the end removes nothing. `everything`: it removes also what other runs created.
    """
    if settings.dwh.target != "redshift":
        return ""
    from lib.provision import cluster

    return cluster.describe_end(settings, run, keep, everything)


def status(settings: Settings) -> str:
    """Return what exists of the target, what it costs, and what was loaded into it.

    Raises WarehouseError, with all that can be said, when the warehouse can't be opened.
    """
    if settings.dwh.target == "redshift":
        from lib.provision import cluster

        said = cluster.status(settings)
        return _with_loaded(said, settings) if cluster.running(settings) else said
    file = settings.database
    if not file.exists():
        return f"target local: {shorten_path(file)} does not exist; it costs nothing."
    size = file.stat().st_size / 1e6
    exists = f"target local: {shorten_path(file)}, {size:,.1f} MB; it costs nothing."
    return _with_loaded(exists, settings)


def _with_loaded(said: str, settings: Settings) -> str:
    try:
        with closing(warehouse.connect(settings, read_only=True)) as opened:
            return "\n  ".join([said, *opened.summary()])
    except warehouse.WarehouseError as error:
        raise warehouse.WarehouseError(f"{said}\n  {error}") from None


def _create_database(settings: Settings) -> Step:
    file = settings.database
    name = shorten_path(file)
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
    with closing(warehouse.connect(settings, create=True)) as made, made.transaction():
        made.mark()


def _create_data(settings: Settings) -> tuple[Step, ...]:
    if not settings.uses_sample:
        for place in (settings.log_data, settings.song_data):
            files.list_files(place, settings)  # a wrong folder is said now, before anything is made
        return _own_data(settings)
    name = shorten_path(SAMPLE)
    if _sample().is_whole(SAMPLE):
        return (Step("sample data", name, "exists", "keep"),)
    state = "incomplete" if SAMPLE.exists() else "missing"
    return (Step("sample data", name, state, "create", lambda: _sample().make(SAMPLE)),)


def _own_data(settings: Settings) -> tuple[Step, ...]:
    named = {"event logs": settings.log_data, "song metadata": settings.song_data}
    return tuple(Step(resource, place, "yours", "keep") for resource, place in named.items())


def _sample():
    from lib import sample  # only who makes or removes it needs the generator

    return sample


def _remove_database(settings: Settings) -> Step:
    file = settings.database
    name = shorten_path(file)
    if not file.exists():
        return Step("database", name, "missing", "none")
    try:
        with closing(warehouse.connect(settings, read_only=True)) as opened:
            is_ours, foreign = opened.has_mark(), opened.foreign_objects()
    except warehouse.base.Damaged as damage:
        if not damage.ours:
            raise
        return Step("database", name, "damaged", "delete", lambda: _delete(file))
    if not is_ours:
        return Step("database", name, "empty and not marked as ours", "keep")
    if foreign:
        raise ProvisionError(
            f"{file} holds what this project did not make ({', '.join(foreign)}); "
            "move it elsewhere, or delete the file yourself."
        )
    return Step("database", name, "exists", "delete", lambda: _delete(file))


def _delete(file: Path) -> None:
    try:
        file.with_name(file.name + ".wal").unlink(missing_ok=True)  # first: alone it is no database
        file.unlink(missing_ok=True)
    except OSError as error:
        raise ProvisionError(
            f"{file} can't be removed: {error.strerror}; ask who owns it, or let yourself write to "
            f"{file.parent}."
        ) from None


def _remove_data(settings: Settings) -> tuple[Step, ...]:
    if not settings.uses_sample:
        return _own_data(settings)
    name = shorten_path(SAMPLE)
    if not _sample().has_remains(SAMPLE):
        return (Step("sample data", name, "missing", "none"),)
    if str(settings.database) != located(DATABASES["sample"]):  # it has one of its own
        return (Step("sample data", name, "exists", "keep"),)
    return (Step("sample data", name, "exists", "delete", lambda: _sample().remove(SAMPLE)),)
