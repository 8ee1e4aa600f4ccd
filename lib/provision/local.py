"""The target local: the DuckDB file and the sample, which are free and created at once."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from lib import sample, shorten_path, warehouse
from lib.config import DATABASES, Settings, resolve_place
from lib.load import files
from lib.provision.plan import Plan, ProvisionError, Step


def plan_removal(settings: Settings) -> Plan:
    """Return the plan of removing the database file and the sample."""
    steps = (plan_removing_database(settings), *plan_removing_data(settings))
    listed = ", ".join(step.name for step in steps if step.apply)
    confirmation = (
        f"Nothing was removed. To remove {listed}:\n"
        "set confirm = True above and run this notebook again, or run, with the options that you\n"
        "ran before: python -m lib.run --only 05 --teardown"
    )
    return Plan("local", steps, confirmation=confirmation)


def describe_database(settings: Settings) -> str:
    """Return the database file with its size."""
    file = settings.database
    if not file.exists():
        return f"target local: {shorten_path(file)} does not exist; it costs nothing."
    size = file.stat().st_size / 1e6
    return f"target local: {shorten_path(file)}, {size:,.1f} MB; it costs nothing."


def plan_database(settings: Settings) -> Step:
    """Return the step that creates the database file; one that is there must be ours."""
    name = shorten_path(settings.database)
    if settings.database.exists():
        warehouse.connect(settings, read_only=True).close()
        return Step("database", name, "exists", "keep")
    return Step("database", name, "missing", "create", lambda: create_database(settings))


def create_database(settings: Settings) -> None:
    """Create the database file, marked as ours, and the folder that it is in."""
    folder = settings.database.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ProvisionError(
            f"The folder {folder} can't be created: {error.strerror}; name another DATABASE."
        ) from None
    with closing(warehouse.connect(settings, create=True)) as opened, opened.transaction():
        opened.mark()


def plan_data(settings: Settings) -> tuple[Step, ...]:
    """Return the step that generates the sample; own data is only named."""
    if not settings.uses_sample:
        for place in (settings.log_data, settings.song_data):
            files.list_files(place, settings)  # report a wrong folder before anything is created
        return _keep_own_data(settings)
    folder = Path(settings.log_data).parent
    name = shorten_path(folder)
    if sample.is_whole(folder):
        return (Step("sample data", name, "exists", "keep"),)
    state = "incomplete" if folder.exists() else "missing"
    return (Step("sample data", name, state, "create", lambda: sample.make(folder)),)


def _keep_own_data(settings: Settings) -> tuple[Step, ...]:
    named = {"event logs": settings.log_data, "song metadata": settings.song_data}
    return tuple(Step(resource, place, "yours", "keep") for resource, place in named.items())


def plan_removing_database(settings: Settings) -> Step:
    """Return the step that deletes the database file.

    Raises WarehouseError when it is not ours, ProvisionError when it holds tables of others.
    """
    file = settings.database
    name = shorten_path(file)
    if not file.exists():
        return Step("database", name, "missing", "none")
    try:
        with closing(warehouse.connect(settings, read_only=True)) as opened:
            is_ours, foreign = opened.has_mark(), opened.list_foreign_objects()
    except warehouse.base.Damaged as damage:
        if not damage.ours:
            raise
        return Step("database", name, "damaged", "delete", lambda: delete_database(file))
    if not is_ours:
        return Step("database", name, "empty and not marked as ours", "keep")
    if foreign:
        raise ProvisionError(
            f"{file} holds what this project did not make ({', '.join(foreign)}); "
            "move it elsewhere, or delete the file yourself."
        )
    return Step("database", name, "exists", "delete", lambda: delete_database(file))


def delete_database(file: Path) -> None:
    """Delete a database file, after its write-ahead log, which alone is no database."""
    try:
        file.with_name(file.name + ".wal").unlink(missing_ok=True)
        file.unlink(missing_ok=True)
    except OSError as error:
        raise ProvisionError(
            f"{file} can't be removed: {error.strerror}; ask who owns it, or let yourself write to "
            f"{file.parent}."
        ) from None


def plan_removing_data(settings: Settings) -> tuple[Step, ...]:
    """Return the step that deletes the sample, unless another database than its own is named."""
    if not settings.uses_sample:
        return _keep_own_data(settings)
    folder = Path(settings.log_data).parent
    name = shorten_path(folder)
    if not sample.has_remains(folder):
        return (Step("sample data", name, "missing", "none"),)
    if str(settings.database) != resolve_place(DATABASES["sample"]):
        return (Step("sample data", name, "exists", "keep"),)
    return (Step("sample data", name, "exists", "delete", lambda: sample.remove(folder)),)
