"""A database file that a stranger has prepared, and one that is damaged."""

import os
import subprocess
import sys
from contextlib import closing

import duckdb
import pytest

from lib import provision, warehouse
from lib.warehouse import export
from tests.warehouse.test_mark import made, refused

SECRET = "root:x:0:0"
KILLED = """
import os, sys, duckdb
held = duckdb.connect(sys.argv[1])
held.execute("insert into time select range, 1, 1, 1, 1, 2018, 1 from range(5000)")
os._exit(0)
"""


# What it can bring in


@pytest.fixture
def received(world, song, event, tmp_path):
    """Give a warehouse of one play whose views and tables a stranger has changed, and a secret."""
    world.catalogue(song())
    world.log(event())
    world.load()
    world.close()
    (tmp_path / "passwd").write_text(SECRET)
    columns = "content as song_id, content as title, content as artist_id, 1 as year, 1 as duration"
    read = f"select {columns} from read_text('{tmp_path / 'passwd'}')"

    def change(*statements):
        with duckdb.connect(str(world.settings.database)) as theirs:
            for statement in statements:
                theirs.execute(statement.format(read=read))
        return world.settings

    return change


@pytest.mark.only_on("local")
def test_a_view_in_the_place_of_a_table_is_refused(received, engine, tmp_path):
    settings = received("drop table songs", "create view songs as {read}")
    named = f"{settings.database} has a view songs where this project has a table"
    assert named in refused(export.export, settings, tmp_path / "star")
    assert named in refused(warehouse.connect, settings, read_only=True)
    assert not (tmp_path / "star").exists()


@pytest.mark.only_on("local")
def test_no_view_brings_a_file_of_this_machine_into_an_export_or_an_analysis(
    received, engine, tmp_path
):
    settings = received("create or replace view plays as {read}", "create table x as select 1")
    assert "disabled" in refused(lambda: export.export(settings, tmp_path / "star"))
    assert not (tmp_path / "star").exists()
    with closing(warehouse.connect(settings, read_only=True)) as opened:
        for question in (
            "from plays",
            "from glob('/etc/*')",
            f"from read_csv('{tmp_path}/passwd')",
        ):
            with pytest.raises(duckdb.Error, match="disabled by configuration"):
                opened.cursor().execute(question)
        for change in ("set enable_external_access = true", "set allowed_directories = ['/']"):
            with pytest.raises(duckdb.Error, match="Cannot"):
                opened.cursor().execute(change)
        with pytest.raises(duckdb.Error):
            opened.cursor().execute(f"copy x to '{tmp_path}/x.csv'")


# What is damaged


def damage(file) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 3 :] = os.urandom(len(content) - len(content) // 3)
    file.write_bytes(content)


def cut_off(settings) -> None:
    """Leave a log of changes beside the database, as a process that is killed does, damaged."""
    subprocess.run([sys.executable, "-c", KILLED, str(settings.database)], check=True)
    log = settings.database.with_name(f"{settings.database.name}.wal")
    content = bytearray(log.read_bytes())
    content[len(content) // 2] ^= 255
    log.write_bytes(content)


def test_a_damaged_database_at_its_own_place_says_the_remedy_which_works(project):
    settings = made(project())
    damage(settings.database)
    said = refused(warehouse.connect, settings, read_only=True)
    assert said.startswith(f"{settings.database} is damaged, and with it what was loaded into it (")
    assert "; remove it with 05_teardown (python -m lib.run --only 05 --teardown, " in said
    assert said.endswith(") and load anew, the data files stay.")
    assert refused(provision.plan_creation, settings) == said
    plan = provision.plan_removal(settings)
    assert (plan.steps[0].state, plan.steps[0].action) == ("damaged", "delete")
    plan.apply()
    assert settings.database.exists(), "nothing is removed without a word"
    plan.apply(confirm=True)
    assert not settings.database.exists()


def test_damage_that_a_question_comes_upon_says_the_remedy(project):
    settings = made(project())
    with closing(warehouse.connect(settings)) as opened:
        opened._execute("insert into songs select uuid(), uuid(), uuid(), 1, 1 from range(300000)")
    content = bytearray(settings.database.read_bytes())
    middle = len(content) * 3 // 4
    content[middle : middle + 4] = bytes(byte ^ 255 for byte in content[middle : middle + 4])
    settings.database.write_bytes(content)
    with closing(warehouse.connect(settings, read_only=True)) as opened:
        said = refused(opened._execute, "select max(song_id || title || artist_id) from songs")
    assert said.startswith(f"{settings.database} is damaged, and with it what was loaded into it (")
    assert "remove it with 05_teardown" in said


@pytest.mark.parametrize("database", ["", "mine.duckdb"])
def test_a_damaged_log_beside_a_sound_file_is_removed_with_it(project, tmp_path, database):
    settings = made(project(database=database and tmp_path / database))
    cut_off(settings)
    said = refused(warehouse.connect, settings)
    log = f"{settings.database}.wal"
    lost = f"is damaged, and with it the last load into {settings.database.name} ("
    assert said.startswith(f"{log} {lost}")
    assert "; remove it with 05_teardown" in said
    provision.plan_removal(settings).apply(confirm=True)
    assert not settings.database.exists()
    assert not os.path.exists(log)


def test_a_damaged_log_of_somebody_elses_file_is_left_to_them(project, tmp_path):
    settings = made(project(database=tmp_path / "theirs.duckdb"))
    with duckdb.connect(str(settings.database)) as theirs:
        theirs.execute("drop table warehouse_mark")
    cut_off(settings)
    said = refused(provision.plan_removal, settings)
    assert f"; delete {settings.database} yourself" in said
    assert settings.database.exists()


def test_a_damaged_database_elsewhere_is_for_its_owner_to_delete(project, tmp_path):
    settings = made(project(database=tmp_path / "mine.duckdb"))
    damage(settings.database)
    remedy = f"; delete {settings.database} yourself and load anew, the data files stay."
    assert refused(provision.plan_removal, settings).endswith(remedy)
    assert settings.database.exists()
