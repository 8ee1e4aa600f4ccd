"""The numbers and sentences of 04_analyse, each counted by hand, on either engine."""

import json
from datetime import UTC, date, datetime
from types import SimpleNamespace

import pandas as pd
import pytest

from lib.analyse import findings
from lib.load import audit_warehouse

MAC = '"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_9_4) AppleWebKit/537.36 (KHTML, like Gecko) '
CHROME = MAC + 'Chrome/36.0.1985.143 Safari/537.36"'
SAFARI = MAC + 'Version/7.0.6 Safari/537.78.2"'
FIREFOX = "Mozilla/5.0 (Windows NT 6.1; WOW64; rv:31.0) Gecko/20100101 Firefox/31.0"
LINUX = "Mozilla/5.0 (X11; Linux x86_64; rv:31.0) Gecko/20100101 Firefox/31.0"
ROWS = [
    (CHROME, "8", 3, 4),
    (SAFARI, "8", 1, 1),  # one person with two browsers
    (SAFARI, "9", 2, 2),
    (FIREFOX, "9", 1, 1),
    (LINUX, "9", 5, 6),
    ("nonsense", "10", 1, 2),
    (None, "", 0, 7),
]
AGENTS = pd.DataFrame(ROWS, columns=["user_agent", "user_id", "plays", "events"])


def plain(value):
    return value if isinstance(value, int | float) else date.fromisoformat(str(value)[:10])


@pytest.fixture
def weeks(world, event, song):
    """Load a log backwards, and return the headline's rows after each load."""

    def play(day, clock, **fields):
        time = datetime.fromisoformat(f"2018-11-{day:02d}T{clock}").replace(tzinfo=UTC)
        ts = int(time.timestamp() * 1000)
        return event(ts=ts, sessionId=ts, **fields)

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


def write_headline(world) -> dict:
    """Write headline.json of a run that is called friday, and return what it holds."""
    folder = world.folder / "runs" / "friday"
    audits = audit_warehouse(world.dwh, world.settings)
    tables = findings.write_headline(world.dwh, world.settings, folder, audits)
    content = json.loads((folder / "headline.json").read_text(encoding="utf-8"))
    for name, table in tables.items():
        assert table.to_dict("records") == content[name], "a notebook shows what the file says"
    return content


def test_the_headline_is_the_last_complete_week_against_the_one_before(weeks, world):
    noon_alone, one_week, two_weeks = weeks
    assert noon_alone == [], "a day that ends at noon is not complete"
    six_days = (date(2018, 11, 9), date(2018, 11, 14), 4, 1, 0.75, 3.0)
    assert one_week == [six_days], "nor is one that begins at 23:59"
    last_week = (date(2018, 11, 8), date(2018, 11, 14), 6, 2, 0.5, 2.5)
    assert two_weeks == [last_week, (date(2018, 11, 1), date(2018, 11, 7), 3, 2, 0.0, 1.5)]

    headline, days = write_headline(world), "8–14 Nov 2018"
    assert [list(row.values()) for row in headline["figures"]] == [
        ["Plays", days, "6", "+100.0%", "3 on 1–7 Nov"],
        ["Listeners", days, "2", "unchanged", "2 on 1–7 Nov"],
        ["Played while paid", days, "50%", "+50.0 points", "0% on 1–7 Nov"],
        ["Plays per listener", days, "2.5", "+66.7%", "1.5 on 1–7 Nov"],
    ]
    quality = {row["check"]: (row["finding"], row["state"]) for row in headline["quality"]}
    assert quality["Coverage"] == ("0.0% of 10 plays match a song of the catalogue", "")
    assert quality["Left out"] == ("None of 12 records", "ok")
    assert quality["Audits"] == ("All 9 passed", "ok")
    assert quality["Events"][0] == "1 Nov 2018, 00:30 UTC to 15 Nov 2018, 12:00 UTC"
    assert quality["Files"][0].startswith("3 of events and 1 of songs, ")
    run = {row["fact"]: row["value"] for row in headline["run"]}
    assert run["Run"] == "friday"
    assert run["Warehouse"].startswith(("local, DuckDB ", "redshift, sparkify-dwh"))
    assert "pandas" in run["Versions"]
    assert run["Data"] == "Sparkify event logs"
    assert str(world.folder) not in str(headline), "nobody's folders are shown"


def test_an_empty_warehouse_has_no_headline_and_says_what_it_lacks(world):
    assert findings.compare_weeks(world.dwh.analysis("headline").to_dict("records")).empty
    quality = findings.check_quality(world.dwh, audit_warehouse(world.dwh, world.settings))
    found = dict(zip(quality["check"], quality["finding"], strict=True))
    assert (found["Events"], found["Last load"], found["Files"]) == ("none", "none", "none")


def test_what_was_left_out_or_failed_an_audit_needs_a_look():
    loads = [("events", 1, 900_000, 1197, 3, 1, datetime(2018, 12, 1))]
    answers = {"status/loads": loads, "status/freshness": [(None, None)]}
    warehouse = SimpleNamespace(coverage=lambda: (0, 0), rows=answers.get)
    quality = findings.check_quality(warehouse, {"coverage_reaches_floor": 1, "no_orphan_keys": 0})
    rows = {check: tuple(row) for check, *row in quality.itertuples(index=False)}
    assert rows["Left out"] == ("3 of 1,200 records (0.25%); see load_rejects", "look")
    assert rows["Audits"] == ("1 of 2 failed: coverage_reaches_floor found 1", "look")
    assert rows["Last load"] == ("1 Dec 2018, 00:00 UTC", "")


@pytest.mark.parametrize(
    ("first", "last", "partial", "said"),
    [
        ("2018-11-24", "2018-11-30", [], "24–30 Nov 2018"),
        ("2018-10-29", "2018-11-04", [], "29 Oct – 4 Nov 2018"),
        ("2018-12-29", "2019-01-04", [], "29 Dec 2018 – 4 Jan 2019"),
        ("2018-01-18", "2066-11-21", [], "18 Jan 2018 – 21 Nov 2066"),
        ("2018-11-01", "2018-11-01", [], "1 Nov 2018"),
        ("2018-11-01", "2018-11-30", ["2018-11-01"], "1 Nov (in part) – 30 Nov 2018"),
        ("2017-12-31", "2018-01-01", ["2018-01-01"], "31 Dec 2017 – 1 Jan 2018 (in part)"),
        ("2018-11-01", "2018-11-01", ["2018-11-01"], "1 Nov 2018 (in part)"),
        ("2018-11-01", "2018-11-30", ["2018-11-02"], "1–30 Nov 2018"),
    ],
)
def test_days_are_written_as_short_as_they_are_clear(first, last, partial, said):
    assert findings.format_days(first, last, map(pd.Timestamp, partial)) == said


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("sample", "All of this data is invented"),
        ("own", "If these are Sparkify's public logs, their users are simulated"),
    ],
)
def test_a_reader_is_told_what_the_data_is_not(kind, said):
    assert findings.write_caution(SimpleNamespace(data_kind=kind)).startswith(said)


@pytest.mark.parametrize(
    ("part", "least", "rows"),
    [
        (
            "platform",
            2,
            [
                ["Mac OS X", 2, 6, 7, 1],
                ["others, under 2 users each", 1, 6, 7, 2],
                ["unknown", 1, 1, 9, 1],
            ],
        ),
        (
            "browser",
            1,
            [
                ["Safari", 2, 3, 3, 1],
                ["Chrome", 1, 3, 4, 1],
                ["Firefox", 1, 6, 7, 1],
                ["unknown", 1, 1, 9, 1],
            ],
        ),
    ],
)
def test_people_are_counted_once_and_small_groups_together(part, least, rows):
    found = findings.count_by_agent(AGENTS, part, least)
    assert list(found) == [part, "users", "plays", "events", "groups"]
    assert found.to_numpy().tolist() == rows
    none = findings.count_by_agent(AGENTS.iloc[:0], part, least)
    assert (list(none), len(none)) == (list(found), 0)


@pytest.mark.parametrize(
    ("names", "title"),
    [
        (["Coldplay"], "Coldplay"),
        (["Coldplay", "Kings Of Leon"], "Coldplay and Kings Of Leon"),
        (["A", "B", "C", "D"], "A, B and 2 more"),
        ([], ""),
    ],
)
def test_those_who_share_the_lead_are_all_counted(names, title):
    assert findings.list_names(names) == title
