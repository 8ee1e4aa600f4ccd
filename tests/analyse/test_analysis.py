"""The analyses: on a small case with every trap, counted by hand, and on the sample, in Python."""

import shutil
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from lib import sample
from lib.warehouse.templates import WarehouseError
from tests.differential import ANALYSES, plain, rows

ONE = "Phoenix-Mesa-Scottsdale, AZ"
SEVERAL = "New York-Newark-Jersey City, NY-NJ-PA"
ABROAD = "London, UK"
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:31.0) Gecko/20100101 Firefox/31.0"
MATCHED = {"song": "Stay By My Side", "artist": "Fiddler's Green"}
ALONE = {"song": "Alone", "artist": "Nobody", "location": None, "userAgent": None}
OUT = {"location": None, "userAgent": None}
WHERE = {"8": SEVERAL, "9": ONE, "10": ABROAD, "11": ONE}

# From Thursday 1 November 2018, 09:00 UTC, with whole days without an event, so that the quiet
# first morning is nothing special. Session 1 is one of 8 and one of 9, session 3 one of 10 and one
# of 11; '' is logged out. 8 goes from paid to free and back within ten minutes; 11 sees Upgrade in
# the very moment in which the first play begins, and 10 before it.
EVENTS = [
    # user, session, day, time, page, level, more
    ("9", 1, 1, "09:00", "NextSong", "free", {}),
    ("9", 1, 1, "09:04", "NextSong", "free", {}),
    ("8", 1, 2, "10:00", "NextSong", "paid", MATCHED),
    ("8", 1, 2, "10:05", "Home", "free", {}),
    ("8", 1, 2, "10:10", "NextSong", "paid", MATCHED),
    ("", 5, 3, "00:00", "Home", "free", OUT),
    ("", 5, 3, "00:01", "Error", "free", OUT | {"status": 404}),
    ("10", 3, 5, "08:00", "Upgrade", "free", {}),
    ("10", 3, 5, "08:01", "NextSong", "free", MATCHED),
    ("11", 3, 5, "08:00", "NextSong", "free", {}),
    ("11", 3, 5, "08:00", "Upgrade", "free", {}),
    ("9", 2, 5, "12:00", "Upgrade", "free", {}),
    ("9", 2, 5, "12:01", "Submit Upgrade", "free", {"status": 307}),
    ("9", 2, 5, "12:02", "NextSong", "paid", MATCHED),
    ("11", 7, 6, "09:00", "Cancellation Confirmation", "free", {}),
    ("", 6, 12, "20:00", "NextSong", "free", ALONE),
    ("10", 4, 12, "23:30", "NextSong", "free", {}),
]
NONE = None


def moment(day: int, time: str) -> datetime:
    hour, minute = map(int, time.split(":"))
    return datetime(2018, 11, day, hour, minute, tzinfo=UTC)


@pytest.fixture(scope="module")
def small(new_world, tmp_path_factory, event, song, engine):
    """The warehouse of the small case."""
    world = new_world(tmp_path_factory.mktemp("small"), engine)
    world.catalogue(song())
    items, records = Counter(), []
    for user, session, day, time, page, level, more in EVENTS:
        about = {"userId": user, "sessionId": session, "page": page, "level": level}
        when = {"ts": int(moment(day, time).timestamp() * 1000)}
        item = {"itemInSession": items[user, session]}
        place = {"location": WHERE.get(user), "userAgent": AGENT}
        records.append(event(**(place | about | when | item | more)))
        items[user, session] += 1
    world.log(*records)
    world.load()
    yield world.dwh
    world.close()


def told(frame) -> list[tuple]:
    """Return a frame's rows, nothing as None and moments as text, such as 11-05 or 11-05 12:02."""

    def short(value):
        value = plain(value)
        if hasattr(value, "isoformat"):
            return value.strftime("%m-%d %H:%M").removesuffix(" 00:00")
        return float.fromhex(value) if isinstance(value, str) and "0x" in value else value

    return [tuple(map(short, row)) for row in frame.itertuples(index=False, name=None)]


def by_day(filled: dict, empty: tuple) -> list[tuple]:
    """Return rows of twelve days, of which only some have anything in them."""
    return [(f"11-{day:02}", *filled.get(day, empty), False) for day in range(1, 13)]


# Each by hand: what is asked, its columns, and its rows

OTHERS = "others, under {} users each"
ANSWERS = {
    "coverage": (
        *({}, "day plays matched partial"),
        by_day({1: (2, 0), 2: (2, 2), 5: (3, 2), 12: (2, 0)}, (0, 0)),
    ),
    "active_users": (
        *({}, "day daily listeners weekly monthly weekly_stickiness stickiness partial"),
        by_day(
            {
                **{1: (1, 1, *[NONE] * 4), 2: (1, 1, *[NONE] * 4), 5: (3, 3, *[NONE] * 4)},
                **{6: (1, 0, *[NONE] * 4), 7: (0, 0, 4.0, NONE, 0.0, NONE)},
                **dict.fromkeys((9, 10, 11), (0, 0, 3.0, NONE, 0.0, NONE)),
                **{8: (0, 0, 4.0, NONE, 0.0, NONE), 12: (1, 1, 2.0, NONE, 0.5, NONE)},
            },
            (0, 0, *[NONE] * 4),
        ),
    ),
    "level_changes": (
        *({}, "day upgrades downgrades partial"),
        by_day({2: (1, 1), 5: (1, 0)}, (0, 0)),
    ),
    "level_timeline": (
        *({}, "person level first_day last_day users"),
        [
            (1, "paid", "11-02", "11-02", 4),
            (1, "free", "11-02", "11-02", 4),
            (1, "paid", "11-02", "11-12", 4),
            (2, "free", "11-01", "11-05", 4),
            (2, "paid", "11-05", "11-12", 4),
        ],
    ),
    "top_songs": (
        {"top": 10, "least": 2},
        "song_title artist_name plays listeners matched matched_share left_out",
        [
            ("Stay By My Side", "Fiddler's Green", 4, 3, 4, 1.0, 1),
            ("You Gotta Be", "Des'ree", 4, 3, 0, 0.0, 1),
        ],
    ),
    "top_artists": (
        {"top": 10, "least": 2},
        "artist_name plays listeners matched matched_share left_out",
        [("Des'ree", 4, 3, 0, 0.0, 1), ("Fiddler's Green", 4, 3, 4, 1.0, 1)],
    ),
    "sessions": (
        {},
        "level sessions users minutes_q1 minutes_median minutes_q3 songs_q1 songs_median songs_q3",
        [
            ("free", 6, 3, 0.0, 0.5, 1.75, 1.0, 1.0, 1.0),
            ("paid", 1, 1, 10.0, 10.0, 10.0, 2.0, 2.0, 2.0),
        ],
    ),
    "upgrade_funnel": (
        *({}, "step name users share"),
        [
            (1, "Listened while free", 3, 1.0),
            (2, "Saw Upgrade", 1, 1 / 3),
            (3, "Submitted Upgrade", 1, 1 / 3),
            (4, "Listened while paid", 1, 1 / 3),
        ],
    ),
    "retention": (
        {"least": 2},
        "cohort_week week_number users cohort_size share complete cohort_complete left_out",
        [
            ("10-29", 0, 2, 2, NONE, False, False, 0),
            ("10-29", 1, 1, 2, 0.5, True, False, 0),
            ("10-29", 2, 0, 2, NONE, False, False, 0),
            ("11-05", 0, 2, 2, 1.0, True, True, 0),
            ("11-05", 1, 1, 2, NONE, False, True, 0),
        ],
    ),
    "survival": (
        *({"least": 1}, "event day at_risk events survival"),
        [
            ("cancellation", 0, 4, 0, 1.0),
            ("cancellation", 2, 4, 1, 0.75),
            ("cancellation", 8, 3, 0, 0.75),
            ("cancellation", 11, 2, 0, 0.75),
            ("cancellation", 12, 1, 0, 0.75),
            ("downgrade", 0, 2, 0, 1.0),
            ("downgrade", 1, 2, 1, 0.5),
            ("downgrade", 8, 1, 0, 0.5),
            ("upgrade", 0, 3, 0, 1.0),
            ("upgrade", 2, 3, 0, 1.0),
            ("upgrade", 5, 2, 1, 0.5),
            ("upgrade", 8, 1, 0, 0.5),
        ],
    ),
    "by_state": (
        *({"least": 2}, "state users plays plays_per_user states"),
        [("AZ", 2, 4, 2.0, 1), (OTHERS.format(2), 1, 2, 2.0, 1), ("unknown", 1, 3, 3.0, 1)],
    ),
    "by_platform": (
        *({}, "user_agent user_id plays events"),
        [
            *((AGENT, "10", 2, 3), (AGENT, "11", 1, 3), (AGENT, "8", 2, 3), (AGENT, "9", 3, 5)),
            (NONE, "", 1, 3),
        ],
    ),
    "concentration": (
        *({}, "listeners_share plays_share gini listeners plays"),
        [
            (*point, 0.1875, 4, 8)
            for point in ((0.0, 0.0), (0.25, 0.125), (0.5, 0.375), (0.75, 0.625), (1.0, 1.0))
        ],
    ),
    "repeat_listening": (
        "week plays first_plays repeats repeat_share listeners new_artists "
        "new_artists_per_listener complete",
        [
            ("10-29", 4, 2, 2, 0.5, 2, 2, 1.0, False),
            ("11-05", 3, 3, 0, 0.0, 3, 3, 1.0, True),
            ("11-12", 1, 1, 0, 0.0, 1, 1, 1.0, False),
        ],
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_each_question_has_the_answer_counted_by_hand(small, name):
    *asked, columns, rows = ANSWERS[name]
    frame = small.analysis(name, **(asked[0] if asked else {}))
    assert list(frame) == columns.split()
    assert told(frame) == rows


def test_groups_of_too_few_are_shown_together_or_left_out(small):
    assert told(small.analysis("by_state", least=1))[1] == ("NY", 1, 2, 2.0, 1)
    others = (OTHERS.format(3), 3, 6, 2.0, 2)
    assert told(small.analysis("by_state", least=3)) == [others, ("unknown", 1, 3, 3.0, 1)]
    assert len(small.analysis("top_songs", top=1, least=0)) == 1
    assert told(small.analysis("top_songs", top=10, least=4)) == []
    assert told(small.analysis("retention", least=3)) == []
    at_risk = [row for row in ANSWERS["survival"][-1] if row[1] == 0 or row[2] >= 3]
    assert told(small.analysis("survival", least=3)) == at_risk


def test_plays_by_hour_by_how_often_there_was_such_an_hour(small):
    frame = small.analysis("plays_by_hour")
    assert list(frame) == ["weekday", "hour", "plays", "days", "plays_per_day"]
    rows = {row[:2]: row[2:] for row in told(frame)}
    assert len(rows) == 168
    assert {cell: row for cell, row in rows.items() if row[0]} == {
        (1, 8): (2, 2, 1.0),
        (1, 12): (1, 2, 0.5),
        (1, 20): (1, 2, 0.5),
        (1, 23): (1, 2, 0.5),
        (4, 9): (2, 2, 1.0),
        (5, 10): (2, 2, 1.0),
    }
    assert rows[3, 8] == (0, 1, 0.0)
    assert frame["days"].sum() == 12 * 24


def test_a_day_is_partial_when_its_edge_is_quieter_than_any_hours_within(world, event, song):
    first = int(moment(1, "09:30").timestamp() * 1000)
    records = [event(ts=first + hour * 3_600_000) for hour in range(2 * 24 + 12)]
    night = slice(15, 24)  # the nine hours from midnight on
    world.catalogue(song())
    world.log(*records[: night.start], *records[night.stop :])
    world.load()
    assert list(world.dwh.analysis("coverage")["partial"]) == [False, False, False]
    assert world.dwh.analysis("plays_by_hour")["days"].sum() == 3 * 24
    world.log(*records[night], file="night.json")
    world.load()
    assert list(world.dwh.analysis("coverage")["partial"]) == [True, False, True]
    rows = {row[:2]: row[2:] for row in told(world.dwh.analysis("plays_by_hour"))}
    assert {cell for cell, row in rows.items() if row == (1, 1, 1.0)} == {
        *((4, hour) for hour in range(9, 24)),
        *((5, hour) for hour in range(24)),
        *((6, hour) for hour in range(21)),
    }
    assert Counter(rows.values()) == {(1, 1, 1.0): 60, (0, 0, NONE): 108}


def test_level_by_day_counts_people_not_versions(small):
    frame = small.analysis("level_by_day")
    assert list(frame) == ["day", "level", "plays", "listeners", "plays_per_listener", "partial"]
    nobody = (0, 0, NONE)
    for level, filled in {
        "free": {1: (2, 1, 2.0), 5: (2, 2, 1.0), 12: (1, 1, 1.0)},
        "paid": {2: (2, 1, 2.0), 5: (1, 1, 1.0)},
    }.items():
        rows = told(frame[frame["level"] == level].drop(columns="level"))
        assert rows == by_day(filled, nobody)


def test_listeners_of_one_kind_are_counted_too(new_world, tmp_path, event, song, engine):
    # Users 01, 09 and 17 are numbers of one remainder by eight, as which listeners are first told.
    everyone = [f"{number:02}" for number in range(1, 18)]
    heard = {"Few": ["01", "01", "01", "02"], "Alike": ["01", "09", "17"], "All": everyone}
    artists = {"Few": "One", "All": "One"}
    world = new_world(tmp_path, engine)
    world.catalogue(song())
    plays = [(title, user) for title, users in heard.items() for user in users]
    world.log(
        *(
            event(song=title, artist=artists.get(title), userId=user, itemInSession=item)
            for item, (title, user) in enumerate(plays)
        )
    )
    world.load()
    songs = world.dwh.analysis("top_songs", top=10, least=3)
    world.close()
    assert [row[:4] + row[6:] for row in told(songs)] == [
        ("All", "One", 17, 17, 1),
        ("Alike", None, 3, 3, 1),
    ]


def test_errors_have_their_interval(small):
    frame = small.analysis("errors")
    assert list(frame) == ["day", "requests", "errors", "share", "low", "high", "partial"]
    requests = {1: 2, 2: 3, 3: 2, 5: 7, 6: 1, 12: 2}
    assert told(frame[["day", "requests", "errors", "share", "partial"]]) == by_day(
        {day: (n, 0, 0.0) for day, n in requests.items()} | {3: (2, 1, 0.5)}, (0, 0, NONE)
    )
    days = frame.set_index(frame["day"].dt.day)
    assert list(days.loc[3, ["low", "high"]]) == pytest.approx([0.0945312, 0.9054688], abs=1e-7)
    assert list(days.loc[1, ["low", "high"]]) == pytest.approx([0, 0.6576198], abs=1e-7)
    assert days.loc[4, ["low", "high"]].isna().all()


def test_errors_overall_are_one_row(small):
    frame = small.analysis("errors_overall")
    assert list(frame) == ["requests", "errors", "share", "low", "high"]
    ((requests, errors, *shares),) = told(frame)
    assert (requests, errors) == (17, 1)
    assert shares == pytest.approx([1 / 17, 0.0104604, 0.2698203], abs=1e-7)


def test_an_empty_warehouse_has_no_rows_but_zeros(world):
    rows = {name: told(world.dwh.analysis(name, top=10, least=5)) for name in ANALYSES}
    zeros = {
        "plays_by_hour": [(day, hour, 0, 0, NONE) for day in range(1, 8) for hour in range(24)],
        "upgrade_funnel": [
            (1, "Listened while free", 0, NONE),
            (2, "Saw Upgrade", 0, NONE),
            (3, "Submitted Upgrade", 0, NONE),
            (4, "Listened while paid", 0, NONE),
        ],
        "errors_overall": [(0, 0, NONE, NONE, NONE)],
    }
    assert rows == {name: zeros.get(name, []) for name in ANALYSES}


@pytest.fixture
def days_of(world, event, song):
    """Load a day of events a day given, a user's each; return the names of all analyses."""

    def load(days: dict) -> None:
        world.catalogue(song())
        at = {day: int(datetime.fromisoformat(day).timestamp() * 1000) for day in days}
        hours = [(day, user, hour) for day, user in days.items() for hour in range(24)]
        world.log(
            *(
                event(ts=at[day] + hour * 3_600_000, userId=user, sessionId=at[day] // 86_400_000)
                for day, user, hour in hours
            )
        )
        world.load()

    return load


def test_years_without_an_event_are_no_days_in_any_answer(world, days_of):
    days_of({"2001-01-01T00+00:00": "8", "2018-11-01T00+00:00": "8"})
    size = {name: len(world.dwh.analysis(name, top=10, least=1)) for name in ANALYSES}
    assert size.pop("plays_by_hour") == 7 * 24
    assert max(size.values()) <= 4
    active = world.dwh.analysis("active_users")
    assert list(active["day"].dt.strftime("%Y-%m-%d")) == ["2001-01-01", "2018-11-01"]
    assert list(active["daily"]) == [1, 1]
    assert not active["partial"].any()
    assert world.dwh.analysis("plays_by_hour")["days"].sum() == 2 * 24


@pytest.mark.parametrize(("empty", "calendar"), [(31, 33), (32, 2)])
def test_a_month_without_an_event_is_zeros_and_more_is_left_out(world, days_of, empty, calendar):
    first = moment(1, "00:00")
    days_of({(first + timedelta(days=n)).isoformat(): "8" for n in (0, empty + 1)})
    for name in ("coverage", "errors", "level_changes", "level_by_day", "active_users"):
        assert len(world.dwh.analysis(name)) == calendar, name


def test_a_window_does_not_reach_over_days_that_are_left_out(world, days_of):
    first = moment(1, "00:00")
    stretches = dict.fromkeys(range(8), "8") | dict.fromkeys(range(50, 58), "9")
    days_of({(first + timedelta(days=n)).isoformat(): user for n, user in stretches.items()})
    frame = world.dwh.analysis("active_users")
    assert list(frame["daily"]) == [1] * 16
    weekly = [None if value != value else value for value in frame["weekly"]]
    assert weekly == ([None] * 6 + [1, 1]) * 2
    assert frame["monthly"].isna().all()


def test_plays_of_nobody_known_get_one_sentence(world, event, song):
    world.catalogue(song())
    world.log(event(userId=""), event(userId="9", page="Home"))
    world.load()
    with pytest.raises(WarehouseError, match=r"^No play is of a known listener: .*\.$"):
        world.dwh.require_plays()


def test_an_event_that_is_delivered_twice_counts_once_in_every_question(
    new_world, tmp_path, engine
):
    sample.make(tmp_path / "data", scale=0.1, songs=20)
    places = {name: tmp_path / "data" / name for name in ("log_data", "song_data")}
    world = new_world(tmp_path, engine, **places)

    def answer_all() -> dict:
        world.load()
        return {name: rows(world.dwh.analysis(name, top=1000, least=2)) for name in ANALYSES}

    once = answer_all()
    staged = world.dwh.count_rows()["staging_events"]
    for file in sorted(places["log_data"].rglob("*.json")):
        shutil.copy(file, file.with_name(f"copy-of-{file.name}"))
    assert answer_all() == once
    assert world.dwh.count_rows()["staging_events"] == 2 * staged
    assert world.rows("select count(*) from events") == [(staged,)]
    world.close()
