"""Who only asks: a database user that reads the model on Redshift, and can change nothing."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest

from lib import provision, warehouse
from lib.aws import AwsError
from lib.warehouse import export
from lib.warehouse.templates import WarehouseError
from tests.differential import differences
from tests.standin import policy

pytestmark = pytest.mark.only_on("redshift")


@pytest.fixture
def loaded(world, event, song):
    world.dwh.create_schema()
    world.catalogue(song(), song(song_id="SO2", title="You Gotta Be", artist_name="Des'ree"))
    world.log(event(), event(itemInSession=2, level="paid", ts=1541106106999))
    world.load()
    return world


@pytest.fixture
def reader(loaded):
    with closing(warehouse.connect(loaded.settings, read_only=True)) as reader:
        yield reader


def held(world, name: str) -> list[dict]:
    """Return the statements of a policy of docs/iam, for a world's database."""
    return policy.statements(name, DATABASE=world.name)


def test_the_reader_reads_every_table_and_answers_every_question(loaded, reader):
    assert reader._execute("select current_user").fetchall() == (["dwh_reader"],)
    assert differences(loaded.dwh, reader) == []
    assert reader.summary() == loaded.dwh.summary()


@pytest.mark.parametrize(
    "statement",
    [
        "insert into time select * from time",
        "update users set level = 'paid'",
        "delete from songplays",
        "truncate staging_events",
        "drop table songplays",
        "drop view plays",
        "create table mine (a integer)",
        "create table mine as select * from users",
        "create view mine as select * from users",
        "create schema mine",
        "create user mine password disable",
        "alter table users add column a integer",
    ],
)
def test_the_reader_can_change_nothing(reader, statement):
    with pytest.raises(WarehouseError, match=r"permission denied|must be owner"):
        reader._execute(statement)


def test_the_reader_still_reads_after_a_full_refresh_and_another_02_schema(loaded, reader):
    loaded.load(full_refresh=True)
    loaded.dwh.create_schema()
    assert differences(loaded.dwh, reader) == []


def test_who_holds_the_analysts_policy_is_the_reader_and_nobody_else(
    loaded, double, tmp_path, monkeypatch
):
    monkeypatch.setattr(double.aws, "holds", held(loaded, "analyse"))
    with closing(warehouse.connect(loaded.settings, read_only=True)) as reader:
        assert reader.coverage()[0] == 2
    assert export.export(loaded.settings, tmp_path / "star")["songplays"] == 2
    words = "lacks the action redshift:GetClusterCredentials"
    with pytest.raises(AwsError, match=words):
        warehouse.connect(loaded.settings)
    other = replace(loaded.settings, db=replace(loaded.settings.db, name="payroll"))
    with pytest.raises(AwsError, match=words):
        warehouse.connect(other, read_only=True)


def test_who_holds_the_loaders_policy_can_load_and_look(loaded, double, monkeypatch, event):
    monkeypatch.setattr(double.aws, "holds", held(loaded, "load"))
    loaded.dwh.reopen()
    loaded.log(event(itemInSession=3), file="more.json")
    loaded.load()
    assert "songplays 3 rows" in provision._add_loaded("", loaded.settings)


def test_before_02_schema_the_reader_is_missing_and_that_is_said(new_world, tmp_path, double):
    world = new_world(tmp_path, "redshift")
    double.redshift.rows("postgres", "alter role dwh_reader rename to hidden")
    try:
        with pytest.raises(WarehouseError, match=r"refused the connection.*run 02_schema"):
            warehouse.connect(world.settings, read_only=True)
    finally:
        double.redshift.rows("postgres", "alter role hidden rename to dwh_reader")
        world.close()


def test_on_a_cluster_made_elsewhere_the_reader_is_made_and_others_keep_their_rights(
    loaded, double
):
    host, port = double.aws.endpoint
    elsewhere = replace(loaded.settings, db=replace(loaded.settings.db, host=host, port=port))
    may = "select has_schema_privilege('public', 'public', 'create')"
    assert double.redshift.rows(loaded.name, may) == [(False,)]
    double.redshift.rows(loaded.name, "grant create on schema public to public")
    double.redshift.rows(loaded.name, "revoke all on songplays from dwh_reader")
    with closing(warehouse.connect(elsewhere)) as dwh:
        dwh.create_schema()
    assert double.redshift.rows(loaded.name, may) == [(True,)], "another's cluster is not changed"
    with closing(warehouse.connect(elsewhere, read_only=True)) as reader:
        assert reader.coverage()[0] == 2


def test_who_may_not_make_users_hears_what_an_administrator_should_run(loaded, monkeypatch):
    def refused(name, identifiers=None, **values):
        if name == "access/reader":
            raise WarehouseError("permission denied to create role")
        return run(name, identifiers, **values)

    run = loaded.dwh.run
    monkeypatch.setattr(loaded.dwh, "run", refused)
    monkeypatch.setattr(loaded.dwh, "rows", lambda *_, **__: [])
    with pytest.raises(WarehouseError, match="administrator run: create user dwh_reader password"):
        loaded.dwh.grant_reader()


def test_a_reader_that_was_not_let_in_yet_is_told_to_run_02_schema(loaded, double):
    double.redshift.rows(loaded.name, "revoke all on all tables in schema public from dwh_reader")
    with pytest.raises(WarehouseError, match=r"shows dwh_reader no mark of this project; run 02_"):
        warehouse.connect(loaded.settings, read_only=True)
    loaded.dwh.create_schema()
    warehouse.connect(loaded.settings, read_only=True).close()
