"""What is created and removed, and what is never touched."""

import re
from dataclasses import replace

import pytest

from lib import SourceError, config, provision, warehouse
from lib.provision.plan import Plan


@pytest.fixture
def settings(tmp_path):
    for name in ("logs", "songs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "one.json").write_text("{}")
    places = {"log_data": str(tmp_path / "logs"), "song_data": str(tmp_path / "songs")}
    return config.read_settings(environ={}, database=str(tmp_path / "new" / "own.duckdb"), **places)


def actions(plan: Plan) -> list[tuple[str, str]]:
    return [(step.resource, step.action) for step in plan.steps]


def test_creation_is_planned_then_done_then_nothing_is_left_to_do(settings, tmp_path):
    plan = provision.plan_creation(settings)
    data = [("event logs", "keep"), ("song metadata", "keep")]
    assert actions(plan) == [("database", "create"), *data]
    assert "does not exist; it costs nothing" in provision.describe_status(settings)
    assert str(tmp_path / "logs") in str(plan), "paths are shown whole"
    assert not settings.database.exists(), "a plan changes nothing"
    plan.apply()
    assert settings.database.exists()
    again = provision.plan_creation(settings)
    assert (actions(again)[0], again.apply()) == (("database", "keep"), "Nothing to do.")


def test_a_missing_data_folder_is_said_before_anything_is_made(settings, tmp_path):
    (tmp_path / "logs" / "one.json").unlink()
    with pytest.raises(SourceError, match="holds no JSON file"):
        provision.plan_creation(settings)
    assert not settings.database.exists()


def test_removal_deletes_the_database_and_leaves_the_data(settings, tmp_path):
    provision.plan_creation(settings).apply()
    plan = provision.plan_removal(settings)
    assert [action for _, action in actions(plan)] == ["delete", "keep", "keep"]
    assert settings.database.exists(), "a plan changes nothing"
    assert plan.apply() == plan.how_to_confirm
    assert "Nothing was removed" in plan.how_to_confirm
    assert settings.database.exists(), "nothing is removed unless confirmed"
    plan.apply(confirm=True)
    assert not settings.database.exists()
    assert (tmp_path / "logs" / "one.json").exists()
    assert provision.plan_removal(settings).apply(confirm=True) == "Nothing to do."


def test_a_file_that_is_no_database_is_neither_used_nor_removed(settings):
    settings.database.parent.mkdir()
    settings.database.write_text("my notes " * 1000)
    for plan in (provision.plan_creation, provision.plan_removal):
        with pytest.raises(warehouse.WarehouseError, match="is not a DuckDB database"):
            plan(settings)
    assert settings.database.read_text().startswith("my notes")


def test_status_says_what_there_is_and_what_was_loaded(world, event, song, engine):
    world.log(event(ts=1541062800000), {"page": "Home"})
    world.catalogue(song())
    assert "nothing was loaded yet" in "\n".join(world.dwh.summary())
    world.dwh.close()
    world.settings = replace(world.settings, load=config.Load(max_rejects="1"))
    world.open()
    world.load()
    told = "\n".join(world.dwh.summary())
    assert re.search(r"last load 1, \d{4}-\d\d-\d\d \d\d:\d\d UTC", told)
    assert re.search(r"events +1 from 1 files, 0\.0 MB, 1 rejects", told)
    assert "events of 2018-11-01 09:00 to 2018-11-01 09:00 UTC" in told
    assert "songplays 1 rows" in told
    if engine == "local":
        world.close()
    assert told.replace("\n", "\n  ") in provision.describe_status(world.settings)


def test_status_of_a_warehouse_that_can_not_be_opened_is_an_error_that_says_what_it_can(
    world, engine
):
    world.dwh.close()
    if engine == "local":
        world.settings.database.write_text("this is no database" * 1000)
        exists, reason = "target local: .*dwh.duckdb, 0.0 MB; it costs nothing.", "is not a DuckDB"
    else:
        named = replace(world.settings.db, name="lacking")
        world.settings = replace(world.settings, db=named)
        exists, reason = "cluster +sparkify-dwh, 1 × ra3.large, available", "lacking"
    with pytest.raises(warehouse.WarehouseError, match=f"(?s)^target.*{reason}") as failed:
        provision.describe_status(world.settings)
    assert re.search(exists, str(failed.value))
