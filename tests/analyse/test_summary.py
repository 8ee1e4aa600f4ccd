"""What a report opens and closes with: each figure counted by hand, on either engine."""

from dataclasses import replace
from datetime import UTC, date, datetime
from types import SimpleNamespace

import pandas as pd
import pytest

from lib import config
from lib.analyse import summary


def at(day: int, clock: str) -> int:
    time = datetime.fromisoformat(f"2018-11-{day:02d}T{clock}")
    return int(time.replace(tzinfo=UTC).timestamp() * 1000)


@pytest.fixture
def play(event):
    """Make a play of the day and time, by user 8, who is free, unless said otherwise."""

    def make(day, clock, **fields):
        ts = at(day, clock)
        return event(ts=ts, sessionId=ts, **fields)

    return make


@pytest.fixture
def weeks(world, play, song):
    """Load a log backwards, and return the headline's rows after each load."""
    world.catalogue(song())
    paid, nobody = {"userId": "10", "level": "paid"}, {"userId": "", "level": "free"}
    last_day = [play(15, "12:00:00")]
    last_week = [
        play(8, "23:59:59"),
        play(10, "09:00:00", **paid),
        play(10, "09:05:00", **paid),
        play(12, "10:00:00", **nobody),
        play(14, "23:00:00", **paid),
    ]
    first_week = [
        play(1, "00:30:00", page="Home"),
        play(1, "23:59:59"),
        play(3, "08:00:00"),
        play(7, "23:59:59", userId="11"),
        play(8, "00:00:00"),
    ]
    found = []
    for number, events in enumerate([last_day, last_week, first_week]):
        world.log(*events, file=f"{number}.json")
        world.load()
        rows = world.dwh.rows("analysis/headline")
        found.append([tuple(map(plain, row)) for row in rows])
    return found


def plain(value):
    return value if isinstance(value, int | float) else date.fromisoformat(str(value)[:10])


def test_the_headline_is_the_last_complete_week_against_the_one_before(weeks, world):
    noon_alone, one_week, two_weeks = weeks
    assert noon_alone == [], "a day that ends at noon is not complete"
    six_days = (date(2018, 11, 9), date(2018, 11, 14), 4, 1, 0.75, 3.0)
    assert one_week == [six_days], "nor is one that begins at 23:59"
    last_week = (date(2018, 11, 8), date(2018, 11, 14), 6, 2, 0.5, 2.5)
    assert two_weeks == [last_week, (date(2018, 11, 1), date(2018, 11, 7), 3, 2, 0.0, 1.5)]

    days = "8–14 Nov 2018"
    assert summary.headline(world.dwh).to_numpy().tolist() == [
        ["Plays", days, "6", "+100.0%", "3 on 1–7 Nov"],
        ["Listeners", days, "2", "unchanged", "2 on 1–7 Nov"],
        ["Played while paid", days, "50%", "+50.0 points", "0% on 1–7 Nov"],
        ["Plays per listener", days, "2.5", "+66.7%", "1.5 on 1–7 Nov"],
    ]
    settings = replace(world.settings, load=config.Load(min_coverage=0.5))
    quality = {check: (said, state) for check, said, state in rows(summary.quality, world)}
    assert quality["Coverage"] == ("0.0% of 10 plays match a song of the catalogue", "")
    assert quality["Left out"] == ("None of 12 records", "ok")
    assert quality["Audits"] == ("All 9 passed", "ok")
    assert quality["Events"][0] == "1 Nov 2018, 00:30 UTC to 15 Nov 2018, 12:00 UTC"
    assert quality["Files"][0].startswith("3 of events and 1 of songs, ")
    failed = "1 of 9 failed: coverage_reaches_floor found 1"
    assert summary.audited(world.dwh, settings) == (failed, "look")

    about = dict(rows(summary.about, world, "/home/anna/runs/friday"))
    assert about["Run"] == "friday"
    assert about["Warehouse"].startswith(("local, DuckDB 1.", "redshift, sparkify-dwh"))
    assert "pandas" in about["Versions"]
    assert str(world.folder) not in str(about), "nobody's folders are told"


def rows(of, world, *more) -> list[tuple]:
    frame = of(world.dwh, world.settings, *more)
    return list(frame.itertuples(index=False, name=None))


def test_an_empty_warehouse_has_no_headline_and_says_what_it_lacks(world):
    assert summary.headline(world.dwh).empty
    found = {check: said for check, said, _ in rows(summary.quality, world)}
    assert (found["Events"], found["Last load"], found["Files"]) == ("none", "none", "none")


def test_records_that_were_left_out_ask_for_a_look():
    assert summary.left_out(3, 1200) == ("3 of 1,200 records (0.25%); see load_rejects", "look")


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        ("2018-11-24", "2018-11-30", "24–30 Nov 2018"),
        ("2018-10-29", "2018-11-04", "29 Oct – 4 Nov 2018"),
        ("2018-12-29", "2019-01-04", "29 Dec 2018 – 4 Jan 2019"),
        ("2018-01-18", "2066-11-21", "18 Jan 2018 – 21 Nov 2066"),
        ("2018-11-01", "2018-11-01", "1 Nov 2018"),
    ],
)
def test_days_are_written_as_short_as_they_are_clear(first, last, said):
    assert summary.write_days(first, last) == said


@pytest.mark.parametrize(
    ("first", "last", "partial", "said"),
    [
        ("2018-11-01", "2018-11-30", "2018-11-01", "1 Nov (in part) – 30 Nov 2018"),
        ("2017-12-31", "2018-01-01", "2018-01-01", "31 Dec 2017 – 1 Jan 2018 (in part)"),
        ("2018-11-01", "2018-11-01", "2018-11-01", "1 Nov 2018 (in part)"),
        ("2018-11-01", "2018-11-30", "2018-11-02", "1–30 Nov 2018"),
    ],
)
def test_days_that_are_there_in_part_say_so(first, last, partial, said):
    assert summary.write_days(first, last, [pd.Timestamp(partial)]) == said


@pytest.mark.parametrize(
    ("kind", "log_data", "said"),
    [
        ("sample", "", "All of this data is invented"),
        ("own", "s3://udacity-dend/log_data", "These are Sparkify's public logs; their users are"),
        ("own", "/data/log_data", "If these are Sparkify's public logs, their users are simulated"),
    ],
)
def test_a_reader_is_told_what_the_data_is_not(kind, log_data, said):
    warehouse, settings = SimpleNamespace(data_kind=kind), SimpleNamespace(log_data=log_data)
    assert summary.caution(warehouse, settings).startswith(said)
