"""Whose a database is, and what it holds: nobody else's is touched, and two kinds never mix."""

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from lib import UserError, config, provision, sample, scratch, warehouse
from lib.analyse import findings
from lib.load import LoadError
from lib.provision import local
from lib.provision.plan import ProvisionError
from lib.warehouse import export
from lib.warehouse.base import TABLES
from lib.warehouse.templates import WarehouseError


def made(settings) -> config.Settings:
    """Make an empty warehouse where `settings` say."""
    settings.database.parent.mkdir(parents=True, exist_ok=True)
    with closing(warehouse.connect(settings, create=True)) as opened:
        opened.create_schema()
    return settings


def refused(do, *words, error=WarehouseError, **how) -> str:
    with pytest.raises(error) as caught:
        do(*words, **how)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


# Whose it is


@pytest.mark.parametrize(
    ("made_by_them", "named"),
    [
        ("create table users (id integer)", "the table main.users and no mark"),
        ("create schema a; create table a.users as select 1", "the table a.users and no mark"),
        ("create view songs as select 1 as id", "the view main.songs"),
        ("create macro one() as 1", "the macro main.one and no mark"),
        ("create sequence numbers", "the sequence main.numbers and no mark"),
        ("create type mood as enum ('good')", "the type main.mood and no mark"),
    ],
)
def test_a_file_that_somebody_else_made_is_refused_everywhere_and_left_as_it_is(
    project, tmp_path, made_by_them, named
):
    settings = project(database=tmp_path / "theirs.duckdb")
    with duckdb.connect(str(settings.database)) as theirs:
        theirs.execute(made_by_them)
    before = settings.database.read_bytes()
    said = [
        refused(local.plan_database, settings),
        refused(warehouse.connect, settings),
        refused(provision.plan_removal, settings),
        refused(export.export, settings, tmp_path / "star"),
    ]
    with pytest.raises(WarehouseError) as told:
        provision.describe_status(settings)  # two lines: what is there, and why it can't be asked
    said.append(str(told.value))
    assert all("theirs.duckdb " in one for one in said), said
    if "songs" not in made_by_them:
        assert said[0].endswith("left as it is; name another file with the parameter database.")
    assert all(named.removeprefix("the view main.") in one for one in said), said
    assert settings.database.read_bytes() == before
    assert not (tmp_path / "star").exists()


@pytest.mark.only_on("redshift")
@pytest.mark.parametrize(
    ("made_by_them", "named"),
    [
        ("create table users (id integer)", "the table public.users"),
        ("create schema a; create table a.users (id integer)", "the table a.users"),
        ("create view one as select 1 as id", "the view public.one"),
        ("create function f() returns integer language sql as 'select 1'", "the function public.f"),
    ],
)
def test_a_database_on_a_cluster_that_somebody_else_made_is_refused(
    world, double, engine, made_by_them, named
):
    world.close()
    double.redshift.create_database(world.name)
    for statement in made_by_them.split("; "):
        double.redshift.rows(world.name, statement)
    said = refused(warehouse.connect, world.settings)
    assert said == (
        f"The database {world.name} on localhost holds {named} and no mark of this project, so it "
        "is left as it is; create another database there and name it in [DB] NAME."
    )


def test_what_others_have_added_keeps_a_warehouse_from_being_removed(project, tmp_path):
    settings = made(project(database=tmp_path / "ours.duckdb"))
    with duckdb.connect(str(settings.database)) as theirs:
        theirs.execute("create schema a; create table a.users (id integer); create macro m() as 1")
    said = refused(provision.plan_removal, settings, error=ProvisionError)
    assert "did not make (the table a.users, the macro main.m)" in said
    warehouse.connect(settings).close()


def test_a_log_beside_a_file_that_somebody_else_made_is_not_merged_into_it(project, tmp_path):
    settings = project(database=tmp_path / "theirs.duckdb")
    makes = (
        "import duckdb, os, sys; theirs = duckdb.connect(sys.argv[1]); "
        "theirs.execute('create table a (b int)'); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", makes, str(settings.database)], check=True)
    log = tmp_path / "theirs.duckdb.wal"
    before = settings.database.read_bytes(), log.read_bytes()
    assert "no mark of this project" in refused(warehouse.connect, settings)
    assert (settings.database.read_bytes(), log.read_bytes()) == before


def test_what_01_makes_is_ours_and_a_file_that_says_nothing_is_not_removed(project, tmp_path):
    settings = project(database=tmp_path / "new.duckdb")
    duckdb.connect(str(settings.database)).close()
    step = local.plan_removing_database(settings)
    assert (step.action, step.apply) == ("keep", None)
    settings.database.unlink()
    local.plan_database(settings).apply()
    step = local.plan_removing_database(settings)
    assert (step.state, step.action) == ("exists", "delete")


def test_tables_whose_making_was_cut_off_are_made_by_the_next_try(
    new_world, tmp_path, engine, monkeypatch
):
    world = new_world(tmp_path, engine)
    world.close()
    if engine == "redshift":
        world.double.redshift.create_database(world.name)
        world.double.redshift.faults.before("create table if not exists songplays", "drop before")
    else:
        world.settings.database.unlink()
        run_statements = warehouse.DuckDB.run

        def cut(self, name, *rest, **values):
            if name == "schema/songplays":
                raise KeyboardInterrupt
            run_statements(self, name, *rest, **values)

        monkeypatch.setattr(warehouse.DuckDB, "run", cut)
    opened = warehouse.connect(world.settings, create=True)
    with closing(opened), pytest.raises((WarehouseError, KeyboardInterrupt)):
        opened.create_schema()
    monkeypatch.undo()
    world.open()
    assert world.dwh.rows("status/tables") == [], "all of them or none"
    world.dwh.create_schema()
    assert world.dwh.count_rows() == dict.fromkeys(TABLES, 0)
    assert world.dwh.has_mark()
    world.close()


def test_the_sample_is_removed_only_together_with_its_own_database(project, tmp_path):
    (tmp_path / "data" / "sample").mkdir(parents=True)
    for other in ("other.duckdb", "data/warehouse.duckdb"):
        steps = local.plan_removing_data(project(database=tmp_path / other))
        assert [step.action for step in steps] == ["keep"]
    steps = local.plan_removing_data(project())
    assert [step.action for step in steps] == ["delete"]


def test_01_makes_a_sample_that_lost_files_anew(project, monkeypatch):
    settings, small = project(), sample.make
    monkeypatch.setattr(sample, "make", lambda folder: small(folder, scale=0.05, songs=40))
    for state in ("missing", "incomplete"):
        (step,) = local.plan_data(settings)
        assert (step.state, step.action) == (state, "create")
        step.apply()
        (step,) = local.plan_data(settings)
        assert step.action == "keep"
        next(Path(settings.log_data).parent.rglob("*-events.json")).unlink()


def test_05_clears_what_an_interrupted_removal_of_the_sample_left(project):
    settings = project()
    left = Path(settings.log_data).parent.with_name(
        f".sparkify-9999999-{scratch.HOST}-x"
    )  # no such process
    (left / "log_data").mkdir(parents=True)
    (step,) = local.plan_removing_data(settings)
    assert step.action == "delete"
    step.apply()
    assert not left.exists()
    (step,) = local.plan_removing_data(settings)
    assert step.action == "none"


def test_a_file_that_may_not_be_removed_is_one_sentence(project, monkeypatch):
    settings = project()
    local.plan_database(settings).apply()
    step = local.plan_removing_database(settings)

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    assert "can't be removed: Permission denied; ask who" in refused(step.apply, error=UserError)
    assert settings.database.exists()


# What it holds


@pytest.mark.parametrize("first", ["sample", "own"])
def test_the_sample_and_other_data_never_mix(world, song, event, monkeypatch, first):
    def load(kind: str, file: str):
        monkeypatch.setattr(config.Settings, "uses_sample", kind == "sample")
        world.log(event(ts=1541106106796 + len(file)), file=file)
        world.load()

    world.catalogue(song())
    load(first, "a.json")
    before, second = world.tables(), "own" if first == "sample" else "sample"
    said = refused(load, second, "bb.json", error=LoadError)
    names = {"sample": "the sample, which is invented", "own": "other data than the sample"}
    assert f" holds {names[first]}, and this load would add {names[second]}; " in said
    assert ("name your data with LOG_DATA and SONG_DATA" in said) is (first == "own")
    assert said.endswith(f"{world.dwh.another}. Nothing was loaded.")
    assert world.tables() == before
    load(first, "ccc.json")
    assert world.dwh.count_rows()["songplays"] == 3
    assert world.dwh.data_kind == first


def test_a_load_that_fails_leaves_the_kind_of_data_open(world, song, event):
    world.catalogue(song())
    world.log(event(ts="yesterday"))
    with pytest.raises(LoadError):
        world.load()
    assert world.dwh.data_kind is None


@pytest.mark.parametrize("kind", ["sample", "own"])
def test_a_report_tells_the_kind_that_the_warehouse_holds_not_that_of_the_settings(
    world, song, event, monkeypatch, kind
):
    monkeypatch.setattr(config.Settings, "uses_sample", kind == "sample")
    world.catalogue(song())
    world.log(event())
    world.load()
    monkeypatch.setattr(config.Settings, "uses_sample", kind != "sample")
    facts = dict(findings.describe_run(world.dwh, world.settings, "").itertuples(index=False))
    assert facts["Data"] == config.SOURCES[kind]
    assert "Events from" not in facts
    assert ("invented" in findings.write_caution(world.dwh)) is (kind == "sample")
    assert any(config.SOURCES[kind] in line for line in world.dwh.summary())


# Who else loads into it


@pytest.mark.only_on("redshift")
def test_a_load_says_that_it_waits_for_another_and_gives_up_in_the_end(
    world, song, event, monkeypatch, engine
):
    for name, seconds in {"BRIEFLY": 0.2, "PATIENCE": 0.5}.items():
        monkeypatch.setattr(f"lib.load.transaction.{name}", seconds)
    world.catalogue(song())
    world.log(event())
    other, steps = warehouse.connect(world.settings), []
    with closing(other), other.transaction():
        said = refused(world.load, steps.append, error=LoadError)
    assert steps == ["another load is running; waiting at most 0 minutes for it"]
    assert said.startswith(f"The database {world.name} on localhost is held by another load, which")
    assert said.endswith("pg_terminate_backend ends it), then load again. Nothing was loaded.")
    limits = []

    def ask(step):
        limits.extend(world.dwh._execute("show statement_timeout").fetchall())

    world.load(ask)
    assert {str(limit) for (limit,) in limits} == {"0"}, "a load itself takes as long as it needs"
    assert world.dwh.count_rows()["songplays"] == 1
