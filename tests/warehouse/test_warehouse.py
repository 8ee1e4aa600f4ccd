"""One small interface over an engine: what opens, is refused, is bound, rolls back."""

import re
import subprocess
import sys
from contextlib import contextmanager
from datetime import datetime

import duckdb
import pytest
import sqlglot

from lib import UserError
from lib.load.records import EVENTS
from lib.load.star import STAR_AUDITS
from lib.warehouse import connect
from lib.warehouse.base import TABLES
from lib.warehouse.templates import SQL, WarehouseError, render

DIALECTS = sorted(file.stem for file in (SQL / "dialect").glob("*.sql"))
STATEMENTS = sorted(
    str(file.relative_to(SQL).with_suffix(""))
    for file in SQL.rglob("*.sql")
    if file.parent.name not in ("dialect", "sql")
)
QUERIES = [
    name
    for name in STATEMENTS
    if name.startswith(("analysis/", "audit/", "status/"))
    or name in ("load/ledger", "load/time_of_load", "load/next_batch", "load/committed")
]
IDENTIFIERS = {
    **{"tables": TABLES, "table": "staging_events", "fields": EVENTS.fields, "kind": "events"},
    **{"columns": ["artist", "auth"], "manifest": "s3://bucket/manifest", "role": "arn:aws:iam::1"},
    **{"region": "us-west-2", "json": "auto", "gzip": True, "timeformat": "epochmillisecs"},
    **{"maxerror": 0, "home": "main", "all": False, "exact": True, "new_songs": True},
    **{"version": "1.0", "created_at": "2018-11-01 00:00:00", "milliseconds": 1000},
    **{"reader": "dwh_reader", "own": True, "levels": ("free", "paid"), "audits": STAR_AUDITS},
}
VALUES = {
    **{"first_batch": 1, "min_coverage": 0.5, "kind": "events", "top": 10, "least": 5},
    **{"session_id": 1, "earliest_ms": 0, "latest_ms": 2**53, "level": "", "batch_id": 1},
    **{"since": datetime(2018, 11, 1), "until": datetime(2018, 11, 2)},
    "loaded_at": datetime(2018, 11, 1),
}
UNKNOWN_TO_THE_PARSER = re.compile(
    r"^(lock table|declare|fetch|create user|grant select) ", re.MULTILINE
)
OTHER = """
import sys, duckdb
held = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "True")
print("open", flush=True)
sys.stdin.read()
"""


@contextmanager
def held_by_another_process(file, read_only=False):
    """Keep a database file open in another process, and give that process."""
    command = [sys.executable, "-c", OTHER, str(file), str(read_only)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"open\n"
        yield other
        other.stdin.close()


def refused(settings, **how) -> str:
    """Return the sentence that opening the warehouse is refused with."""
    with pytest.raises(WarehouseError) as caught:
        connect(settings, **how)
    return str(caught.value)


# Opening


def test_a_missing_file_is_not_made_by_asking(settings):
    made = settings()
    assert refused(made) == (
        f"There is no warehouse at {made.database}; run 01_provision first, "
        "or name another file with the parameter database."
    )
    assert not made.database.exists()


def test_several_processes_can_read_one_file_at_once_and_none_can_change_it(dwh, settings):
    dwh().close()
    with held_by_another_process(settings().database, read_only=True):
        reader = connect(settings(), read_only=True)
        assert reader.coverage() == (0, 0)
        with pytest.raises(WarehouseError, match="read-only"):
            reader.run("load/merge_time", first_batch=1)
        reader.close()


def test_a_file_that_another_process_holds_names_the_process(dwh, settings):
    dwh().close()
    with held_by_another_process(settings().database) as other:
        said = refused(settings())
    assert re.fullmatch(
        rf"{settings().database} is in use by process {other.pid} \(python[\d.]*\); close that "
        "notebook's kernel or stop that program, then run this again.",
        said,
    )


def test_a_file_that_this_process_has_open_says_so(dwh, settings):
    dwh()
    assert refused(settings(), read_only=True) == (
        f"{settings().database} is open already in this process; close it first: dwh.close()."
    )


@pytest.mark.parametrize("how", [{}, {"create": True}, {"read_only": True}])
@pytest.mark.parametrize("content", ["", "a letter, not a database. " * 500, "SQLite format 3\0"])
def test_a_file_that_is_no_duckdb_database_is_left_as_it_is(settings, content, how):
    settings().database.write_text(content)
    assert refused(settings(), **how) == (
        f"{settings().database} is not a DuckDB database; "
        "name another file with the parameter database."
    )
    assert settings().database.read_text() == content


def test_a_folder_in_place_of_the_file_is_named(settings):
    settings().database.mkdir()
    assert refused(settings()).startswith(f"{settings().database} can't be opened: ")


def test_a_warehouse_shows_its_target_engine_and_file(dwh, settings):
    assert re.fullmatch(rf"local · DuckDB [\d.]+ · {settings().database}", repr(dwh()))


def test_words_mean_what_they_mean_on_redshift(dwh):
    cursor = dwh().cursor()
    assert cursor.execute("select 1 / 2").fetchall() == [(0,)]
    numbers = "select x from (values (1), (null), (2)) as numbers(x) order by x"
    assert cursor.execute(numbers).fetchall() == [(1,), (2,), (None,)]
    assert cursor.execute(f"{numbers} desc").fetchall() == [(None,), (2,), (1,)]


@pytest.mark.parametrize(
    ("options", "memory"),
    [
        ({"memory_limit": "512MiB", "threads": 1}, "512.0 MiB"),
        ({"threads": 1}, "732.4 MiB"),
        ({"threads": 8}, "1.4 GiB"),
        ({"threads": 1024}, None),  # no more than DuckDB takes by itself
    ],
)
def test_memory_is_as_set_or_what_the_threads_need(dwh, options, memory):
    shown = "select current_setting('memory_limit'), current_setting('threads')"
    ((own, _),) = duckdb.connect().execute(shown).fetchall()
    ((limit, threads),) = dwh(**options).cursor().execute(shown).fetchall()
    assert threads == options["threads"]
    assert limit == memory or (memory is None and limit.split()[1:] == own.split()[1:])


# The model


def test_making_the_tables_again_keeps_what_is_in_them(world, song, event):
    world.catalogue(song())
    world.log(event())
    world.load()
    before = world.tables()
    world.dwh.create_schema()
    assert world.tables() == before


@pytest.mark.parametrize("do", ["create_schema", "load"])
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["drop column field"], "has no column field"),
        (["add column size integer", "alter column size set not null"], "requires a column size"),
    ],
)
def test_tables_of_an_earlier_version_are_told_in_one_sentence(
    world, song, event, do, changes, said
):
    world.catalogue(song())
    world.log(event())
    for change in changes:
        world.dwh._execute(f"alter table load_rejects {change}")
    with pytest.raises(UserError, match=rf"^The table load_rejects {said}.*anew"):
        world.dwh.create_schema() if do == "create_schema" else world.load()


def test_a_missing_table_says_which_notebook_makes_it(settings):
    empty = connect(settings(), create=True)
    with pytest.raises(WarehouseError) as caught:
        empty.coverage()
    assert str(caught.value) == "The warehouse has no table songplays; run 02_schema first."
    empty.close()


# Statements


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", STATEMENTS)
def test_every_statement_renders_and_says_what_it_is_and_names_no_engine(name, dialect):
    text = (SQL / f"{name}.sql").read_text()
    assert text.startswith("-- ")
    assert not re.search(r"(?i)duckdb|redshift|postgres|\btruncate\b", text), "it commits"
    for statement in render(name, dialect, **IDENTIFIERS):
        assert not re.search(r"\{\{|\{%|\{#|\bNone\b|;\s*$", statement)


@pytest.mark.parametrize("name", STATEMENTS)
def test_every_statement_is_redshift_sql(name):
    for statement in render(name, "redshift", **IDENTIFIERS):
        parsed = sqlglot.parse_one(statement, dialect="redshift")
        unknown = bool(UNKNOWN_TO_THE_PARSER.search(statement))
        assert isinstance(parsed, sqlglot.exp.Command) is unknown, statement


@pytest.mark.parametrize("name", QUERIES)
def test_every_query_runs_on_an_empty_warehouse(dwh, name):
    empty = dwh()
    empty.run("load/merge_users", IDENTIFIERS, first_batch=1)  # audits ask for what it has changed
    frame = empty.frame(name, IDENTIFIERS, **VALUES)
    assert len(frame.columns) > 0
    if name.startswith("audit/"):
        assert frame.empty


@pytest.mark.parametrize(
    "text",
    ["'; drop table songs; --", "a:b :batch_id $batch_id $1 ? %s {{ 7 }} {% x %}", "\\", '"'],
)
def test_a_value_is_data_whatever_it_looks_like(world, song, event, text):
    world.catalogue(song(title=text, artist_name=text))
    world.log(event(song=text, artist=text, location=text, userAgent=text, userId=text))
    world.load()
    stripped = text.strip()
    assert world.rows(
        "select song_title, artist_name, location, user_agent, song_id from songplays"
    ) == [(stripped, stripped, text, text, song()["song_id"])]
    assert world.rows("select title from songs") == [(stripped,)]
    assert world.dwh.rows("load/ledger", kind=text) == []


# Transactions


HOUR = "insert into time values (2018110109, 9, 1, 44, 11, 2018, 4)"


@pytest.mark.parametrize("error", [WarehouseError, KeyboardInterrupt, SystemExit])
def test_a_transaction_that_fails_in_any_way_leaves_nothing_of_itself(dwh, error):
    made = dwh()

    def fail():
        made._execute(HOUR)
        assert made.count_rows()["time"] == 1
        if error is WarehouseError:
            made.run("status/staged", {"table": "no_such_table"})
        raise error

    with pytest.raises(error), made.transaction():
        fail()
    assert made.count_rows()["time"] == 0


def test_a_transaction_is_seen_whole_when_it_has_ended_and_the_next_one_can_begin(dwh):
    made = dwh()
    for hours in (1, 2):
        with made.transaction():
            made._execute(HOUR)
            seen = made.cursor().execute("select count(*) from time").fetchall()
            assert seen == [(hours - 1,)]
        assert made.count_rows()["time"] == hours


def test_what_a_killed_process_spilled_is_removed_when_the_file_is_opened_to_write(dwh, settings):
    dwh().close()
    folder = settings().database.with_name("dwh.duckdb.tmp")
    folder.mkdir()
    spilled, other = folder / "duckdb_temp_storage_S96K-0.tmp", folder / "notes.txt"
    spilled.touch(), other.touch()
    connect(settings(), read_only=True).close()
    assert spilled.exists(), "another reader may be using it"
    connect(settings()).close()
    assert [*folder.iterdir()] == [other]


@pytest.mark.parametrize("dtype", [object, None])
def test_rows_of_a_large_frame_arrive_as_they_are(dwh, dtype):
    import pandas as pd

    rows = [
        (f"S{n}", f"ä{n}" if n % 3 else None, "A", n if n % 5 else None, n / 7) for n in range(9999)
    ]
    names = ["song_id", "title", "artist_id", "year", "duration"]
    made = dwh(threads=4)
    made.append("songs", pd.DataFrame(rows, columns=names, dtype=dtype))
    found = made.cursor().execute("select * from songs").fetchall()
    assert sorted(found) == sorted(rows)
