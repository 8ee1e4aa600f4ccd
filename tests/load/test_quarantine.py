"""What a load leaves out, what it refuses, and how a load is repeated or replaced."""

import json
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from lib import config, run, warehouse
from lib.load import BadRecords, LoadError, files
from lib.load.files import ChangedFile
from lib.warehouse.base import STAR

T = 1541062800000  # 1 November 2018, 09:00 UTC


@pytest.fixture
def lenient(tmp_path, new_world, engine):
    """Make a warehouse that lets so many bad records pass; on redshift its data is in S3."""
    made = []

    def make(max_rejects, s3=engine == "redshift"):
        made.append(new_world(tmp_path, engine, s3=s3, max_rejects=str(max_rejects)))
        return made[-1]

    yield make
    for world in made:
        world.close()


either_place = pytest.mark.parametrize("s3", [False, True], ids=["folder", "s3"])


@either_place
def test_a_bad_record_goes_to_load_rejects_and_all_others_of_its_file_load(
    lenient, event, song, s3
):
    world = lenient(3, s3)
    world.catalogue(song())
    good = [json.dumps(event(ts=T + n)) for n in range(3)]
    bad = ["{oops", json.dumps(event(ts="soon")), json.dumps(event() | {"page": None})]
    lines = [line for pair in zip(good, bad, strict=True) for line in pair]
    world.log("\n".join(lines).encode(), file="mixed.json")
    world.log(event(ts=T + 9), file="whole.json")
    loaded = world.load()
    where = world.rows("select distinct file_key from load_rejects")
    assert [key.rpartition("/")[2] for (key,) in where] == ["mixed.json"]
    found = world.rows("select line, field, reason, raw_text from load_rejects order by line")
    assert [(line, field, text) for line, field, _, text in found] == [
        (2, "", bad[0]),
        (4, "ts", bad[1]),
        (6, "page", bad[2]),
    ]
    assert found[1][2] == "ts must be a whole number, not 'soon'"
    ledger = "select row_count, reject_count from load_files where kind = 'events' order by 1"
    assert world.rows(ledger) == [(1, 0), (3, 3)]
    assert world.dwh.count_rows()["songplays"] == 4
    assert list(loaded.rejects_frame()["line"]) == [2, 4, 6]
    assert "3 records were left out" in str(loaded)


def test_songs_are_left_out_one_by_one(lenient, event, song):
    world = lenient("40%")
    world.log(event())
    for number in range(3):
        year = "long ago" if number == 1 else 1999
        world.catalogue(song(song_id=f"S{number}", year=year), file=f"A/{number}.json")
    world.load()
    assert world.rows("select song_id from songs order by 1") == [("S0",), ("S2",)]
    assert world.rows("select line, field from load_rejects") == [(1, "year")]


@pytest.mark.parametrize(
    ("allowed", "loads"), [("0", False), ("1", False), ("2", True), ("19%", False), ("20%", True)]
)
def test_max_rejects_decides_whether_the_load_commits(lenient, event, song, allowed, loads):
    world = lenient(allowed)
    world.catalogue(song())
    world.log(*(event(ts=T + n) for n in range(7)), event(ts="soon"), event(status="?"))
    before = world.tables()
    if loads:
        assert len(world.load().rejects) == 2
        return
    with pytest.raises(BadRecords) as caught:
        world.load()
    assert "line 8: ts must be" in str(caught.value)
    assert "these 2 records" in str(caught.value)
    table = str(caught.value).splitlines()[1:]
    assert table[0].split() == ["file_key", "line", "field", "reason"]
    assert [row.split()[1:3] for row in table[1:]] == [["8", "ts"], ["9", "status"]]
    assert world.tables() == before


def test_what_a_load_found_is_kept_also_when_it_stops(lenient, event, song, tmp_path):
    world = lenient(0)
    world.catalogue(song())
    file = world.log(event(), event(ts="soon"))
    with pytest.raises(BadRecords):
        world.load(keep=tmp_path / "kept")
    kept = json.loads((tmp_path / "kept" / "load.json").read_text())
    assert [one["line"] for one in kept["rejects"]] == [2]
    assert "Nothing was loaded" in kept["failure"]
    file.write_text(json.dumps(event()))
    world.put.discard(file)
    world.load(keep=tmp_path / "kept")
    kept = json.loads((tmp_path / "kept" / "load.json").read_text())
    assert set(kept["audits"].values()) == {0}
    assert {"counts_reconcile", "keys_are_unique", "staging_events_required"} <= set(kept["audits"])
    assert kept["failure"] == ""


@either_place
def test_only_new_files_that_are_refused_are_read_record_by_record(
    lenient, event, song, monkeypatch, engine, s3
):
    world, read, ours = lenient(1, s3), [], files.read_records
    world.catalogue(song())
    world.log(event(ts=T), file="a.json")
    world.load()
    monkeypatch.setattr(
        files, "read_records", lambda key, *rest: read.append(key[-6:]) or ours(key, *rest)
    )
    for name in ("b", "c"):
        world.log(event(ts=T + 1), file=f"{name}.json")
    world.log(event(ts="soon"), file="d.json")
    world.catalogue(song(song_id="S"), file="e.json")
    world.load()
    # DuckDB does not say which of a kind's files it refuses; COPY names them.
    assert read == (["d.json"] if s3 and engine == "redshift" else ["b.json", "c.json", "d.json"])


def test_text_longer_than_its_column_is_a_reject_on_every_engine(lenient, event, song):
    world = lenient(1)
    world.catalogue(song())
    fits, over = "é" * 512, "é" * 512 + "x"
    world.log(event(ts=T, location=fits), event(ts=T + 1, location=over))
    world.load()
    assert world.rows("select location from songplays") == [(fits,)]
    assert world.rows("select field, reason from load_rejects") == [
        ("location", f"location must be at most 1,024 bytes, not {over[:60]!r}")
    ]


# What can't be

DAY = 86_400_000
CANNOT_BE = [
    *(("ts", T // 1000), ("ts", 946_684_799_999), ("ts", 5_585_587_199_999)),
    *(("level", level) for level in ("", "  ", "gold", "Paid", "free,paid", {"free": 1})),
]


@either_place
@pytest.mark.parametrize("other", [b"", b"\n{oops"], ids=["alone", "beside a bad record"])
def test_a_time_or_a_level_that_cannot_be_is_left_out(lenient, event, song, s3, other):
    world, now = lenient("100%", s3), time.time_ns() // 1_000_000
    world.catalogue(song())
    bad = [event(**{"ts": T, field: value}) for field, value in [*CANNOT_BE, ("ts", now + 2 * DAY)]]
    can_be = [("ts", 946_684_800_000), ("ts", now + DAY - 600_000), ("level", " paid ")]
    good = [event(**{"ts": T + 1, field: value}) for field, value in can_be]
    world.log("\n".join(map(json.dumps, bad + good)).encode() + other)
    world.log(event(ts=T + 9), file="whole.json")
    world.load()
    found = world.rows("select line, field from load_rejects where field <> '' order by line")
    assert found == [(n, field) for n, (field, _) in enumerate([*CANNOT_BE, ("ts", 0)], start=1)]
    assert world.dwh.count_rows()["songplays"] == len(good) + 1
    assert world.rows("select distinct level from staging_events order by 1") == [
        ("free",),
        ("paid",),
    ]


def test_a_time_in_seconds_stops_a_load_that_may_leave_nothing_out(lenient, event, song):
    world = lenient(0)
    world.catalogue(song())
    world.log(event(ts=T), event(ts=T // 1000))
    with pytest.raises(BadRecords) as caught:
        world.load()
    assert "events.json, line 2: ts must be a time from 2000-01-01 to " in str(caught.value)
    assert (
        " in milliseconds since 1970 ([LOAD] EARLIEST), not '1541062800'. Nothing was loaded"
        in str(caught.value)
    )
    assert world.dwh.count_rows()["staging_events"] == 0


def test_what_can_be_is_a_setting(tmp_path, new_world, engine, event, song):
    world = new_world(
        tmp_path, engine, max_rejects="100%", earliest="2018-11-02", levels="free,Pro 2"
    )
    world.catalogue(song())
    world.log(event(ts=T), event(ts=T + DAY, level="paid"), event(ts=T + DAY, level="Pro 2"))
    world.load()
    assert world.rows("select line, field, reason from load_rejects order by line")[1] == (
        *(2, "level", "level must be free or Pro 2 ([LOAD] LEVELS), not 'paid'"),
    )
    assert world.rows("select level from songplays") == [("Pro 2",)]
    world.close()


# The format


def test_an_unknown_field_is_named_and_passed_over(lenient, event, song):
    world = lenient(0)
    world.catalogue(song())
    world.log(event(), event(weather="rain"), file="old.json")
    world.log(event(weather="rain", ts=T), file="new.json")
    loaded = world.load()
    assert list(loaded.unknown_fields) == ["weather"]
    assert "The field weather is new" in str(loaded)
    assert "new.json" in str(loaded)


def test_a_field_that_no_record_has_stops_the_load(lenient, event, song):
    world = lenient("100%")
    world.catalogue(song())
    records = [event(ts=T + n) for n in range(20)]
    for record in records:
        record["songTitle"] = record.pop("song")
    world.log(*records)
    with pytest.raises(LoadError, match=r"has a field song, .*events\.json; was it renamed\?"):
        world.load()
    assert world.dwh.count_rows()["staging_events"] == 0


def test_a_field_that_holds_something_else_in_a_whole_file_stops_the_load(lenient, event, song):
    world = lenient("100%")
    world.catalogue(song())
    world.log(event(ts=T), file="good.json")
    world.log(*(event(ts=f"2018-11-0{n}") for n in range(1, 4)), file="retyped.json")
    words = r"^Not one of the 3 records of \S+retyped\.json can be loaded: ts must be"
    with pytest.raises(LoadError, match=words):
        world.load()
    assert world.dwh.count_rows()["staging_events"] == 0


# Repeated, replaced, built anew


@pytest.fixture
def read(monkeypatch) -> list[str]:
    """The small files that were read, by name."""
    names, ours = [], files._read_file
    monkeypatch.setattr(
        files, "_read_file", lambda file: names.append(Path(file.key).name) or ours(file)
    )
    return names


def rewrite(file: Path, old: bytes, new: bytes) -> None:
    """Change a file to others of the same length, and restore the time of its last change."""
    about = file.stat()
    file.write_bytes(file.read_bytes().replace(old, new))
    os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns))


def test_a_file_that_is_as_it_was_loaded_is_not_read_again(world, event, song, read):
    world.catalogue(song())
    log = world.log(event(song="One"))
    world.load()
    read.clear()
    assert str(world.load()).startswith("Nothing new")
    assert read == []
    rewrite(log, b"One", b"Two")
    with pytest.raises(ChangedFile):
        world.load()
    assert read == ["events.json"]


@pytest.mark.parametrize("swap", ["folder", "link", "clock"])
def test_a_file_under_a_known_name_is_read_again_whatever_was_swapped(world, event, song, swap):
    """The other file is as long, was written before the load, and at the same moment."""
    world.catalogue(song())
    log, other = world.log(event(song="One"), file="v1/a.json"), world.folder / "v2"
    shutil.copytree(log.parent, other, symlinks=True)
    rewrite(other / "a.json", b"One", b"Two")
    if swap == "link":
        log.parent.rename(world.folder / "v1")
        log.parent.symlink_to(world.folder / "v1")
    world.load()
    if swap == "clock":
        later = "cast('2099-01-01 00:00:00' as timestamp)"  # as a server's clock may say
        world.dwh._execute(f"update load_files set loaded_at = {later}")
        rewrite(log, b"One", b"Two")
    elif swap == "link":
        log.parent.unlink()
        log.parent.symlink_to(other)
    else:
        log.parent.rename(world.folder / "v1")
        other.rename(log.parent)
    with pytest.raises(ChangedFile, match=r"v1/a\.json has changed since it was loaded"):
        world.load()


def test_a_file_that_was_restored_with_the_same_content_is_read_once(world, event, song, read):
    world.catalogue(song())
    log = world.log(event())
    world.load()
    before = world.tables()
    for _ in range(2):
        content = log.read_bytes()
        log.unlink()
        (world.folder / "between").touch()  # so that the new one is not given the same number
        log.write_bytes(content)
        read.clear()
        assert [str(world.load())[:11] for _ in range(3)] == ["Nothing new"] * 3
        assert read == ["events.json"]
    ledger = before.pop("load_files")
    after = world.tables()
    assert [row[:8] for row in after.pop("load_files")] == [row[:8] for row in ledger]
    assert after == before


@pytest.mark.parametrize("how", ["verify", "replace", "full_refresh"])
def test_every_file_is_read_when_that_is_asked_for(world, event, song, read, how):
    world.catalogue(song())
    world.log(event(), file="a.json")
    world.load()
    read.clear()
    assert "2 files verified, unchanged" in str(world.load(**{how: True}))
    assert read == ["song.json", "a.json"]
    forged = f"update load_files set content_hash = '{64 * '0'}' where kind = 'events'"
    world.dwh._execute(forged)
    assert str(world.load()).startswith("Nothing new")
    if how == "replace":
        assert world.load(replace=True).new_files == {"songs": 1, "events": 1}
    else:
        before = world.tables()
        with pytest.raises(ChangedFile, match=r"a\.json has changed since it was loaded"):
            world.load(**{how: True})
        assert world.tables() == before


def test_a_verified_load_takes_new_files_along(world, event, song):
    world.catalogue(song())
    world.log(event())
    world.load()
    world.log(event(ts=T), file="new.json")
    said = str(world.load(verify=True))
    assert said.startswith("Loaded 1 new files (0 of songs, 1 of events); 2 files verified, unch")


@either_place
def test_the_same_content_under_another_name_is_told(lenient, event, song, s3, tmp_path):
    world = lenient(0, s3)
    world.catalogue(song())
    first = world.log(event(), file="a.json")
    world.log(b"", file="empty.json")
    assert world.load().same_content == {}
    shutil.copy(first, first.with_name("b.json"))
    os.link(first, first.with_name("c.json"))
    first.with_name("d.json").symlink_to(first)
    for name in ("e.json", "f.json"):
        world.log(event(ts=T), file=name)
    world.log(b"", file="void.json")
    loaded = world.load(keep=tmp_path)
    pairs = {Path(new).name: Path(old).name for new, old in loaded.same_content.items()}
    assert pairs == {
        "b.json": "a.json",
        "c.json": "a.json",
        "d.json": "a.json",
        "f.json": "e.json",
    }
    new, old = next(iter(loaded.same_content.items()))
    assert str(loaded).endswith(
        f"\n4 files hold the same content as others, such as {new} and {old}; their records count "
        "once."
    )
    kept = json.loads((tmp_path / "load.json").read_text())
    assert kept["same_content"] == loaded.same_content
    assert world.load().same_content == {}


def test_a_moved_folder_is_told(world, event, song):
    world.catalogue(song())
    log = world.log(event(), file="2018/a.json")
    world.load()
    log.parent.rename(world.logs / "moved")
    said = f"1 files hold the same content as others, such as {world.logs}/moved/a.json and {log};"
    assert said in str(world.load())


def test_a_changed_file_is_replaced_with_all_that_came_with_it(lenient, event, song):
    world = lenient(0)
    world.catalogue(song())
    changing = world.log(event(ts=T, song="Old"), event(ts=T + 1, song="Gone"), file="a.json")
    world.log(event(ts=T + 2, song="Beside"), file="b.json")
    world.load()
    world.log(event(ts=T + 3, song="Later"), file="c.json")
    world.load()
    changing.write_text(json.dumps(event(ts=T, song="New")))
    world.put.discard(changing)
    before = world.tables()
    with pytest.raises(ChangedFile, match=r"a\.json has changed since it was loaded"):
        world.load()
    assert world.tables() == before
    world.load(replace=True)
    played = "select song_title from songplays order by 1"
    assert world.rows(played) == [("Beside",), ("Later",), ("New",)]
    assert world.rows("select count(*) from load_files") == [(4,)]
    assert str(world.load(replace=True)).startswith("Nothing new")


def test_a_changed_file_is_not_replaced_when_one_that_came_with_it_is_gone(lenient, event, song):
    world = lenient(0, s3=False)
    world.catalogue(song())
    changing, other = world.log(event(ts=T), file="a.json"), world.log(event(), file="b.json")
    world.load()
    changing.write_text(json.dumps(event(ts=T, song="New")))
    other.unlink()
    before = world.tables()
    with pytest.raises(
        LoadError, match=r"b\.json was loaded together with a file that has changed"
    ):
        world.load(replace=True)
    assert world.tables() == before


def test_a_full_refresh_mends_a_star_that_was_tampered_with(lenient, event, song):
    world = lenient(0)
    world.catalogue(song())
    levels = ("free", "paid", "free")
    world.log(*(event(ts=T + n, level=level) for n, level in enumerate(levels)))
    world.load()
    before = world.tables()
    for table in STAR:
        world.dwh._execute(f"delete from {table}")
    assert world.tables() != before
    world.load(full_refresh=True)
    assert world.tables() == before
    world.log(event(ts=T + 9), file="new.json")
    world.load()
    assert world.dwh.count_rows()["songplays"] == 4


def test_a_full_refresh_takes_new_files_along_and_is_undone_by_a_failed_audit(
    lenient, event, song, monkeypatch
):
    world = lenient(0)
    world.catalogue(song())
    world.log(event(ts=T))
    world.load()
    before = world.tables()
    world.log(event(ts=T + 1, song="Unknown"), file="new.json")
    strict = replace(world.settings, load=config.Load(min_coverage=1))
    with monkeypatch.context() as patch:
        patch.setattr(world, "settings", strict)
        with pytest.raises(LoadError, match="coverage_reaches_floor"):
            world.load(full_refresh=True)
    assert world.tables() == before
    world.load(full_refresh=True)
    assert world.dwh.count_rows()["songplays"] == 2


def test_the_runner_builds_the_star_anew_and_verifies(tmp_path, write, event, song, capsys):
    places = ["--log-data", str(tmp_path / "log"), "--song-data", str(tmp_path / "song")]
    places += ["--database", str(tmp_path / "dwh.duckdb"), "--runs", str(tmp_path / "runs")]
    write(tmp_path / "log/a.json", [event()])
    write(tmp_path / "song/a.json", [song()])
    settings = config.read_settings(environ={}, database=tmp_path / "dwh.duckdb")
    made = warehouse.connect(settings, create=True)
    made.create_schema()
    made.close()
    assert run.main([*places, "--only", "03", "--full-refresh", "--name", "one"]) == 0
    assert run.main([*places, "--status"]) == 0
    assert "songplays 1 rows" in capsys.readouterr().out
    assert run.main([*places, "--only", "04", "--full-refresh"]) == 2
    assert "--full-refresh is for 03_load" in capsys.readouterr().err
    assert run.main([*places, "--only", "03", "--verify", "--name", "two"]) == 0
    assert "\nNothing new: 2 files verified, unchanged.\n" in capsys.readouterr().out
    assert run.main([*places, "--only", "04", "--verify"]) == 2
    assert "--verify is for 03_load" in capsys.readouterr().err
