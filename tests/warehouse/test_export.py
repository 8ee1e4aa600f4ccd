"""The view `plays`, and the star as files: complete, typed, the same from both engines."""

import json
import os
import subprocess
import sys
import tempfile
from datetime import datetime

import duckdb
import pytest

from lib import ROOT, run
from lib.warehouse import export
from lib.warehouse.duckdb import DuckDB
from lib.warehouse.templates import WarehouseError

HANDED_OVER = 2000  # more rows than are fetched at once


@pytest.fixture
def loaded(world, event, song):
    """Plays of each kind: matched and not, logged out, by a user who then went to paid."""
    world.catalogue(song(), song(song_id="SOWITHOUTYEAR00001", title="", year=0))
    matched = {"song": "Stay By My Side", "artist": "Fiddler's Green", "length": 202.86649}
    world.log(
        event(**matched, itemInSession=1),
        event(song='=1+1,"quoted"\nÄ', artist=None, itemInSession=2),
        event(song="", artist="", userId="", firstName=None, lastName=None, itemInSession=3),
        event(level="paid", page="Home", ts=1541106107796, itemInSession=4),
    )
    world.load()
    return world


# The view


def test_plays_is_each_play_once_with_what_is_known_of_it(loaded):
    asked = "songplay_key, played_at, user_id, level_when_played, level_now, is_matched, song_year"
    asked += ", song_duration, artist_catalogue_name, artist_latitude, year, week, weekday, hour"
    at, when = datetime(2018, 11, 1, 21, 1, 46, 796000), (2018, 44, 4, 21)
    matched = (True, 1995, 202.86649, "Fiddler's Green", 51.16418)
    unmatched = (False, None, None, None, None)
    assert loaded.rows(f"select {asked} from plays order by item_in_session") == [
        ("1541106106796|139|1|8", at, "8", "free", "paid", *matched, *when),
        ("1541106106796|139|2|8", at, "8", "free", "paid", *unmatched, *when),
        ("1541106106796|139|3|", at, None, None, None, *unmatched, *when),
    ]


def test_a_warehouse_without_the_view_gets_it_from_02_schema(loaded):
    loaded.dwh._execute("drop view plays")
    with pytest.raises(WarehouseError, match="no table plays; run 02_schema first"):
        loaded.dwh.rows("status/row_counts", {"tables": ["plays"]})
    for _ in range(2):
        loaded.dwh.create_schema()
    for table in ("time", "users", "songs", "artists"):
        loaded.dwh._execute(f"delete from {table}")
        assert loaded.rows("select count(*) from plays") == [(3,)], "no play is ever dropped"
    assert loaded.dwh.list_foreign_objects() == [], "it is removed with the warehouse"


# The files


def exported(world, folder):
    """Export a world's warehouse; on `local` the file has to be closed for that."""
    if not world.dwh.copies:
        world.close()
    rows = export.export(world.settings, folder)
    if not world.dwh.copies:
        world.open()
    return rows


def test_parquet_holds_the_tables_and_the_view_with_their_types(loaded, tmp_path):
    upwards = f"select 1 union all select number + 1 from numbers where number < {HANDED_OVER}"
    loaded.dwh._execute(
        f"insert into time with recursive numbers(number) as ({upwards}) "
        "select number, 0, 1, 1, 1, 2018, 1 from numbers"
    )
    tables = {name: loaded.rows(f"select * from {name}") for name in export.EXPORTED}
    folder = tmp_path / "new" / "star"
    assert exported(loaded, folder) == {name: len(rows) for name, rows in tables.items()}
    assert len(tables["time"]) == HANDED_OVER + 1
    for name, rows in tables.items():
        read = duckdb.sql(f"from '{folder}/{name}.parquet'")
        assert sorted(read.fetchall(), key=repr) == sorted(rows, key=repr), name
    about = duckdb.sql(f"from '{folder}/plays.parquet'")
    types = dict(zip(about.columns, map(str, about.types), strict=True))
    assert types["played_at"] == "TIMESTAMP"
    assert (types["session_id"], types["hour"]) == ("BIGINT", "INTEGER")
    assert (types["is_matched"], types["song_duration"]) == ("BOOLEAN", "DOUBLE")


def test_csv_is_utf_8_with_a_header_and_tells_null_from_an_empty_text(loaded, tmp_path):
    exported(loaded, tmp_path / "star")
    text = (tmp_path / "star" / "plays.csv").read_bytes().decode("utf-8")
    header = text.partition("\n")[0].split(",")
    assert header[:3] == ["songplay_key", "played_at", "year"]
    how = "header = true, allow_quoted_nulls = false, all_varchar = true"
    read = duckdb.sql(f"from read_csv('{tmp_path}/star/plays.csv', {how})")
    told = read.order("item_in_session").project("played_at, song_title, artist_name").fetchall()
    assert told == [
        ("2018-11-01 21:01:46.796", "Stay By My Side", "Fiddler's Green"),
        ("2018-11-01 21:01:46.796", '=1+1,"quoted"\nÄ', None),
        ("2018-11-01 21:01:46.796", "", ""),
    ]


@pytest.mark.only_on("local")
def test_an_export_never_overwrites(loaded, tmp_path):
    (tmp_path / "mine").mkdir()
    with pytest.raises(export.ExportError, match="mine exists, and nothing is overwritten"):
        exported(loaded, tmp_path / "mine")
    assert list((tmp_path / "mine").iterdir()) == []
    (tmp_path / "note").touch()
    with pytest.raises(export.ExportError, match=r"note/star can't be written: Not a directory\."):
        export.export(loaded.settings, tmp_path / "note" / "star")


def test_an_export_that_is_interrupted_leaves_nothing(loaded, tmp_path, monkeypatch):
    run_statement, folder = DuckDB.run, tmp_path / "exports"
    folder.mkdir()

    def fail_at_the_last(self, name, identifiers=None, **values):
        run_statement(self, name, identifiers, **values)
        if name == "export/csv" and identifiers["table"] == "plays":
            unfinished = next(folder.glob(".*/star"))
            assert len(list(unfinished.iterdir())) == 2 * len(export.EXPORTED)
            raise KeyboardInterrupt

    monkeypatch.setattr(DuckDB, "run", fail_at_the_last)
    with pytest.raises(KeyboardInterrupt):
        exported(loaded, folder / "star")
    assert os.listdir(folder) == []
    monkeypatch.undo()
    loaded.open()
    assert exported(loaded, folder / "star")["plays"] == 3


KILLED = """
import json, os, sys
from lib import config
from lib.warehouse import export
from lib.warehouse import DuckDB

run = DuckDB.run

def killed(self, name, identifiers=None, **values):
    run(self, name, identifiers, **values)
    if name == "export/csv" and identifiers["table"] == "plays":
        os.kill(os.getpid(), 9)

DuckDB.run = killed
settings = config.read_settings(sys.argv[1], environ={}, **json.loads(sys.argv[2]))
export.export(settings, sys.argv[3])
"""


@pytest.mark.skipif(os.name == "nt", reason="only POSIX can kill a process without a word")
def test_what_a_killed_export_left_is_gone_after_the_next(loaded, tmp_path, monkeypatch):
    folder, temporary = tmp_path / "exports", tmp_path / "temporary"
    folder.mkdir(), temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    about = [str(loaded.folder / "dwh.cfg"), json.dumps(loaded.overrides, default=str)]
    loaded.dwh.close()
    command = [sys.executable, "-c", KILLED, *about, str(folder / "star")]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -9
    assert [file.name for file in folder.rglob("users.csv")] == ["users.csv"]
    assert len([*temporary.rglob("star.duckdb")]) == loaded.dwh.copies
    loaded.open()
    assert exported(loaded, folder / "star")["plays"] == 3
    assert os.listdir(folder) == ["star"]
    assert os.listdir(temporary) == []


@pytest.mark.only_on("redshift")
def test_an_export_sees_one_state_while_a_load_commits(loaded, event, tmp_path, monkeypatch):
    read_table = type(loaded.dwh).read_table

    def load_meanwhile(self, table):
        yield from read_table(self, table)
        if table == "users":
            loaded.log(event(ts=1541200000000, userId="9"), file="more.json")
            loaded.load()

    monkeypatch.setattr(type(loaded.dwh), "read_table", load_meanwhile)
    counts = export.export(loaded.settings, tmp_path / "star")
    assert (counts["songplays"], len(loaded.rows("select 1 from songplays"))) == (3, 4)


@pytest.mark.only_on("local")
def test_the_command_says_what_was_written_and_a_mistake_in_one_sentence(loaded, tmp_path, capsys):
    loaded.close()
    words = ["--database", str(loaded.settings.database), "--export", str(tmp_path / "star")]
    assert run.main(words) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-2:] == ["plays     3 rows", f"written as Parquet and CSV to {tmp_path / 'star'}"]
    assert run.main(words) == 2
    assert capsys.readouterr().err.endswith("name a new folder.\n")
    assert run.main([*words[:2], "--export", "s3://bucket/star"]) == 2
    assert capsys.readouterr().err.startswith("--export writes to a folder of this machine")
    loaded.open()
