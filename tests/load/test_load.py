"""The rules that the numbers depend on, each by name, and what a load promises when it fails."""

import hashlib
import json
import time
from datetime import datetime, timedelta

import pytest

from lib import SourceError
from lib.load import BadRecords, LoadError
from lib.load.records import EVENTS, SONGS
from lib.load.star import EARLIER, MERGES

T = 1541062800000  # Thursday 1 November 2018, 09:00:00.000 UTC
SECOND, MINUTE, HOUR = 1000, 60_000, 3_600_000


def moment(ts: int) -> datetime:
    """Return the UTC time of milliseconds since 1970."""
    return datetime(1970, 1, 1) + timedelta(milliseconds=ts)


def hour(ts: int) -> int:
    """Return the key of the hour, YYYYMMDDHH."""
    return int(moment(ts).strftime("%Y%m%d%H"))


# Rows as they are, and rows as they are expected: complete ones, with the fields of conftest's
# event and song where a test names no others. A play's user is shown as the version that its key
# leads to.


def users(world) -> list[tuple]:
    return world.rows(
        "select user_id, first_name, last_name, gender, level, valid_from, valid_to, is_current "
        "from users order by user_id, valid_from"
    )


def version(level, since, until=None, user_id="8", first="Kaylee", last="Summers", gender="F"):
    ends = None if until is None else moment(until)
    return (user_id, first, last, gender, level, moment(since), ends, ends is None)


def is_in_force(version: tuple, at: datetime) -> bool:
    """Return whether a row of `users` is in force at a time."""
    return version[5] <= at and (version[6] is None or at < version[6])


PLAY = {
    "user": None,
    "level": "free",
    "song_id": None,
    "artist_id": None,
    "session_id": 139,
    "item_in_session": 1,
    "song_title": "You Gotta Be",
    "artist_name": "Des'ree",
    "location": "Phoenix-Mesa-Scottsdale, AZ",
    "user_agent": '"Mozilla/5.0 (Windows NT 6.1; WOW64) AppleWebKit/537.36"',
}


def plays(world) -> list[dict]:
    """Return every play, by time, with user (id, valid_from) in place of the key."""
    rows = world.rows(
        "select songplays.start_time, played_at, songplays.user_key, user_id, valid_from, "
        "songplays.level, song_id, artist_id, session_id, item_in_session, song_title, "
        "artist_name, location, user_agent "
        "from songplays left join users on songplays.user_key = users.user_key "
        "order by played_at, session_id, item_in_session, user_id, song_title"
    )
    return [
        dict(zip(("start_time", "played_at", *PLAY), (*row[:2], row[2] and row[3:5], *row[5:])))  # noqa: B905
        for row in rows
    ]


def play(ts: int, since: int | None = T, user_id="8", **fields) -> dict:
    """Return the expected play at `ts` of a user whose version began at `since`."""
    user = None if since is None else (user_id, moment(since))
    return {"start_time": hour(ts), "played_at": moment(ts)} | PLAY | {"user": user} | fields


def matched(song: dict) -> dict:
    """Return what a play of this song of the catalogue shows."""
    return {
        "song_id": song["song_id"],
        "artist_id": song["artist_id"],
        "song_title": song["title"],
        "artist_name": song["artist_name"],
    }


@pytest.fixture
def play_of(event):
    """Make the event of playing a song of the catalogue."""

    def make(song, **fields):
        named = {"song": song["title"], "artist": song["artist_name"], "length": song["duration"]}
        return event(**(named | fields))

    return make


@pytest.fixture
def other(song):
    """A song that nobody plays, for tests that are about events."""
    return song()


# Rule 1: no play is dropped


def test_rule_1_a_play_with_no_catalogue_song_keeps_its_texts(world, event, other):
    world.catalogue(other)
    world.log(event(ts=T, song="Nowhere", artist="Nobody"))
    world.load()
    assert plays(world) == [play(T, song_title="Nowhere", artist_name="Nobody")]


def test_rule_1_a_play_with_no_texts_at_all_is_a_play(world, event, other):
    world.catalogue(other)
    world.log(event(ts=T, song=None, artist=None, length=None, location=None, userAgent=None))
    world.load()
    nothing = dict.fromkeys(("song_title", "artist_name", "location", "user_agent"))
    assert plays(world) == [play(T, **nothing)]


def test_rule_1_only_next_song_is_a_play_and_every_page_is_staged(world, event, other):
    world.catalogue(other)
    pages = ("Home", "NextSong", "Logout", "nextsong", "Settings", "NextSong")
    world.log(*(event(ts=T + i, itemInSession=i, page=page) for i, page in enumerate(pages)))
    world.load()
    assert plays(world) == [play(T + 1, item_in_session=1), play(T + 5, item_in_session=5)]
    assert world.rows("select page from staging_events order by ts") == [(page,) for page in pages]


def test_rule_1_coverage_is_matched_plays_over_all_plays(world, event, song, play_of):
    world.catalogue(song())
    world.log(play_of(song(), ts=T), *(event(ts=T + i) for i in range(1, 4)), event(page="Home"))
    load = world.load()
    assert (load.plays, load.matched, load.coverage) == (4, 1, 0.25)
    assert str(load) == (
        "Loaded 2 new files (1 of songs, 1 of events). 9 audits passed.\n25.0% of 4 plays are "
        "matched to a song of the catalogue."
    )


def test_rule_1_coverage_of_no_play_is_zero(world, event, other):
    world.catalogue(other)
    world.log(event(page="Home"))
    assert world.load().coverage == 0.0


# Rule 2: the match


@pytest.mark.parametrize("artist", ["Adele", None, "", "lionel richie", "Lionel Richie & Adele"])
def test_rule_2_a_title_alone_never_matches(world, song, event, artist):
    one = song(artist_name="Lionel Richie", title="Hello")
    world.catalogue(one)
    world.log(event(ts=T, song="Hello", artist=artist, length=one["duration"]))
    world.load()
    (row,) = plays(world)
    assert (row["song_id"], row["artist_id"]) == (None, None)


def test_rule_2_an_artist_with_two_names_is_matched_by_the_name_in_the_songs_record(
    world, song, event
):
    first = song(song_id="SO1", artist_id="AR1", artist_name="Prince", title="Kiss")
    second = song(song_id="SO2", artist_id="AR1", artist_name="The Artist", title="Holy River")
    world.catalogue(first, second)
    world.log(
        event(ts=T, song="Kiss", artist="Prince"),
        event(ts=T + 1, song="Kiss", artist="The Artist"),
        event(ts=T + 2, song="Holy River", artist="Prince"),
        event(ts=T + 3, song="Holy River", artist="The Artist"),
    )
    world.load()
    assert plays(world) == [
        play(T, **matched(first)),
        play(T + 1, song_title="Kiss", artist_name="The Artist"),
        play(T + 2, song_title="Holy River", artist_name="Prince"),
        play(T + 3, **matched(second)),
    ]


def test_rule_2_padding_is_blanks_as_on_every_engine_and_text_is_left_alone(world, song, event):
    doubly_encoded = "Ces Gens L\u00c3\u0083\u00c2\u00a0"  # its last character is a no-break space
    world.catalogue(song(title=doubly_encoded))
    world.log(event(ts=T, song=f" {doubly_encoded} ", artist=song()["artist_name"]))
    world.load()
    assert plays(world) == [play(T, **matched(song(title=doubly_encoded)))]


@pytest.mark.parametrize(
    ("length", "song_id"),
    [
        (100.0, "SO1"),
        (149.0, "SO1"),
        (150.0, "SO1"),
        (151.0, "SO2"),
        (9999.0, "SO2"),
        (200.0, "SO2"),
    ],
)
def test_rule_2_of_several_songs_the_nearest_duration_then_the_smallest_id(
    world, song, play_of, length, song_id
):
    fits = {id_: song(song_id=id_, duration=d) for id_, d in [("SO2", 200.0), ("SO1", 100.0)]}
    world.catalogue(*fits.values(), song(song_id="SO0", duration=None))
    world.log(play_of(song(), ts=T, length=length))
    world.load()
    assert plays(world) == [play(T, **matched(fits[song_id]))]


def test_rule_2_a_missing_length_is_no_length_of_minus_one(world, song, play_of):
    world.catalogue(*(song(song_id=id_, duration=d) for id_, d in [("SO2", 1.0), ("SO1", 300.0)]))
    world.log(play_of(song(), ts=T, length=None), play_of(song(), ts=T + 1, length=-1))
    world.load()
    assert plays(world) == [
        play(T, **matched(song(song_id="SO1"))),
        play(T + 1, **matched(song(song_id="SO2"))),
    ]


def test_rule_2_one_play_stays_one_row_however_many_songs_and_records_fit(world, song, play_of):
    ids = ("SO3", "SO1", "SO2")
    world.catalogue(*(song(song_id=id_) for id_ in ids))
    world.catalogue(song(song_id="SO1"), song(song_id="SO1", num_songs=2), file="B/again.json")
    world.log(play_of(song(), ts=T), play_of(song(), ts=T + 1))
    world.load()
    expected = matched(song(song_id="SO1"))
    assert plays(world) == [play(T, **expected), play(T + 1, **expected)]


# Rule 3: users are type 2 on level


VERSIONS = {  # events by time, level, and what else differs; and the versions of user 8
    "paid, free, paid within minutes": (
        [(0, "paid"), (120_796, "free"), (180_001, "paid")],
        [("paid", 0, 120_796), ("free", 120_796, 180_001), ("paid", 180_001)],
    ),
    "equal neighbours": (
        [
            (n, level)
            for n, level in enumerate(["free", "free", "free", "paid", "paid", "free", "free"])
        ],
        [("free", 0, 3), ("paid", 3, 5), ("free", 5)],
    ),
    "a user without a say in another's": (
        [(0, "free"), (1, "paid", {"userId": "10"}), (2, "paid")],
        [("free", 0, 2), ("paid", 2)],
    ),
    "any page": (
        [(0, "free"), (5, "paid", {"page": "Home"}), (9, "paid")],
        [("free", 0, 5), ("paid", 5)],
    ),
    "a boundary": (
        [(0, "free"), (999, "free"), (1000, "paid"), (1001, "paid")],
        [("free", 0, 1000), ("paid", 1000)],
    ),
    "several levels in one millisecond": (
        [(0, "free"), (1, "paid"), (1, "free"), (1, "paid"), (2, "free"), (2, "paid")],
        [("free", 0, 1), ("paid", 1)],
    ),
    "one that does not outlast its millisecond": (
        [(0, "free"), (1, "paid"), (1, "free")],
        [("free", 0)],
    ),
    "by time, session and item": (
        [
            (0, "free", {"sessionId": 9, "itemInSession": 9}),
            (1, "paid", {"sessionId": 9, "itemInSession": 2}),
            (1, "free", {"sessionId": 9, "itemInSession": 10}),
            (1, "paid", {"sessionId": 10, "itemInSession": 1}),
        ],
        [("free", 0, 1), ("paid", 1)],
    ),
}


@pytest.mark.parametrize("order", [1, -1], ids=["in order", "reversed"])
@pytest.mark.parametrize("what", VERSIONS)
def test_rule_3_a_change_of_level_begins_a_version_that_its_plays_carry(
    world, event, other, what, order
):
    events, versions = VERSIONS[what]
    world.catalogue(other)
    made = [
        event(**{"ts": T + at, "level": level, "itemInSession": item} | dict(*more))
        for item, (at, level, *more) in enumerate(events)
    ]
    world.log(*made[::order])
    world.load()
    expected = [version(level, *(T + at for at in bounds)) for level, *bounds in versions]
    assert [row for row in users(world) if row[0] == "8"] == expected
    for row in plays(world):
        if row["user"][0] == "8":
            (held,) = [v for v in expected if is_in_force(v, row["played_at"])]
            assert (row["level"], row["user"][1]) == (held[4], held[5])


def test_rule_3_names_and_gender_are_the_latest_known_in_every_version(world, event, other):
    world.catalogue(other)
    world.log(
        event(ts=T, firstName="Ann", lastName="Lee", gender=None),
        event(ts=T + 2, firstName="Abe", sessionId=138),
        event(ts=T + 2, firstName="Zoe", lastName="May", gender="F", page="Home"),
        event(ts=T + 1, level="paid", firstName="Bea", lastName="Lee", gender="M"),
        event(ts=T + 3, firstName=None, lastName=None, gender=None),
    )
    world.load()
    named = {"first": "Zoe", "last": "May"}
    assert users(world) == [
        version("free", T, T + 1, **named),
        version("paid", T + 1, T + 2, **named),
        version("free", T + 2, **named),
    ]


# Rule 4: logged out


@pytest.mark.parametrize("user_id", ["", None, "  "])
def test_rule_4_a_logged_out_event_is_staged_and_is_no_user(world, event, other, user_id):
    world.catalogue(other)
    world.log(event(ts=T, userId=user_id, auth="Logged Out", firstName=None, page="Home"))
    world.load()
    assert world.rows("select user_id, page from staging_events") == [("", "Home")]
    assert users(world) == []


def test_rule_4_a_play_without_a_user_has_no_user_key_and_no_level(world, event, other):
    world.catalogue(other)
    world.log(event(ts=T, userId="", level="paid"), event(ts=T + 1, level="free"))
    world.load()
    assert plays(world) == [play(T, since=None, level=None), play(T + 1, since=T + 1)]


@pytest.mark.parametrize("user_id", [8, "8", " 8 "])
def test_rule_4_a_user_id_is_text_without_padding(world, event, other, user_id):
    world.catalogue(other)
    world.log(event(ts=T, userId=user_id))
    world.load()
    assert users(world) == [version("free", T)]


# Rule 5: location


def test_rule_5_a_plays_location_is_the_listeners_from_the_event(world, song, play_of):
    world.catalogue(song(artist_location="Oslo, Norway"))
    world.log(play_of(song(), ts=T, location="Chicago, IL"))
    world.load()
    assert plays(world) == [play(T, location="Chicago, IL", **matched(song()))]


# Rule 6: artists

NAMELESS = {"artist_location": "", "artist_latitude": None, "artist_longitude": None}
PLACED = {"artist_location": "", "artist_latitude": 1.5, "artist_longitude": -2.5}
LOCATED = {"artist_location": "Oslo", "artist_latitude": None, "artist_longitude": None}


CHOICES = {  # of an artist's records, and the row that is chosen
    "has coordinates": (
        [("Aa", LOCATED), ("Aa", LOCATED), ("Zz", PLACED)],
        ("Zz", None, 1.5, -2.5),
    ),
    "then has a location": (
        [("Aa", NAMELESS), ("Aa", NAMELESS), ("Zz", LOCATED)],
        ("Zz", "Oslo", None, None),
    ),
    "then most songs": (
        [("Aa", LOCATED), ("Zz", LOCATED), ("Zz", LOCATED)],
        ("Zz", "Oslo", None, None),
    ),
    "then the first name": (
        [("Cc", NAMELESS), ("Zz", NAMELESS), ("Bb", NAMELESS)],
        ("Bb", None, None, None),
    ),
    "coordinates, and of those with a location": (
        [("Aa", LOCATED), ("Zz", PLACED), ("Bb", PLACED | {"artist_location": "Rome"})],
        ("Bb", "Rome", 1.5, -2.5),
    ),
    "half a pair of coordinates is none": (
        [("Aa", LOCATED), ("Bb", NAMELESS | {"artist_latitude": 9.0})],
        ("Aa", "Oslo", None, None),
    ),
}


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_rule_6_one_row_per_artist_chosen_by_the_stated_order(world, event, song, order):
    for artist, (records, _) in CHOICES.items():
        named = [
            song(song_id=f"{artist} {i}", artist_id=artist, artist_name=name, **place)
            for i, (name, place) in enumerate(records)
        ]
        world.catalogue(*(named[i] for i in order if i < len(named)), file=f"{artist}.json")
    world.log(event())
    world.load()
    chosen = sorted((artist, *row) for artist, (_, row) in CHOICES.items())
    assert sorted(world.rows("select * from artists")) == chosen


# Rule 7: types


@pytest.mark.parametrize(
    ("value", "text"), [(311, "311"), (4.6, "4.6"), ("311", "311"), (True, "true"), (0, "0")]
)
def test_rule_7_a_number_where_text_is_expected_is_text(world, song, event, value, text):
    world.catalogue(song(title=value, artist_name=value, artist_location=value))
    world.log(event(ts=T, song=value, artist=value, location=value, userAgent=value))
    world.load()
    assert plays(world) == [
        play(
            T,
            location=text,
            user_agent=text,
            **matched(song(title=text, artist_name=text)),
        )
    ]
    assert world.rows("select title from songs") == [(text,)]
    assert world.rows("select name, location from artists") == [(text, text)]


def test_rule_7_songs_and_artists_are_trimmed_and_what_is_unknown_is_null(world, song, event):
    world.catalogue(
        song(song_id="SO1", artist_id="AR1", title=" Kiss ", artist_name=" Prince ", year=0),
        song(song_id="SO2", artist_id="AR2", artist_location="  ", duration=None, year=None),
        song(song_id="SO3", artist_id="AR3", artist_location=" Oslo ", artist_latitude=None),
        song(song_id="SO4", artist_id="AR4", artist_location=None, artist_longitude=None),
    )
    world.log(event())
    world.load()
    assert world.rows("select * from songs order by song_id") == [
        ("SO1", "Kiss", "AR1", None, 202.86649),
        ("SO2", "Stay By My Side", "AR2", None, None),
        ("SO3", "Stay By My Side", "AR3", 1995, 202.86649),
        ("SO4", "Stay By My Side", "AR4", 1995, 202.86649),
    ]
    assert world.rows("select * from artists order by artist_id") == [
        ("AR1", "Prince", "GERMANY", 51.16418, 10.45415),
        ("AR2", "Fiddler's Green", None, 51.16418, 10.45415),
        ("AR3", "Fiddler's Green", "Oslo", None, None),
        ("AR4", "Fiddler's Green", None, None, None),
    ]


def test_rule_7_fields_that_are_not_there_are_null_and_others_are_passed_over(world, song, event):
    bare = {key: event()[key] for key in ("page", "level", "sessionId", "itemInSession")}
    world.catalogue(song())
    world.log(bare | {"ts": T, "weather": {"sky": ["grey"]}})
    world.load()
    nothing = ("song_title", "artist_name", "location", "user_agent", "level")
    assert plays(world) == [play(T, since=None, **dict.fromkeys(nothing))]


def test_rule_7_events_and_songs_are_staged_whole(world, song, event):
    played = event(ts=T + 796, song="Quote \" ' \\ \u0092 \u2028 \u4e2d \U0001f600")
    world.catalogue(song())
    world.log(played)
    world.load()
    whole = (*(played[name] for name in EVENTS.fields), moment(T + 796), 1)
    assert world.rows("select * from staging_events") == [whole]
    assert world.rows("select * from staging_songs") == [(*map(song().get, SONGS.fields), 1)]


@pytest.fixture
def zone(monkeypatch):
    """Put the computer into another time zone."""

    def move(name):
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield move
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("name", ["UTC", "America/Los_Angeles", "Asia/Kolkata"])
def test_rule_7_timestamps_are_utc_wherever_the_computer_is(
    zone, tmp_path, new_world, event, song, name
):
    zone(name)
    world = new_world(tmp_path)
    world.catalogue(song())
    world.log(event(ts=T + 1))
    world.load()
    assert world.rows("select start_time from staging_events") == [
        (datetime(2018, 11, 1, 9, 0, 0, 1000),)
    ]
    assert world.rows("select * from time") == [(2018110109, 9, 1, 44, 11, 2018, 4)]
    world.close()


def test_time_has_one_row_for_each_hour_with_an_event(world, event, song):
    moments = [
        datetime(2018, 12, 30, 23, 59, 59, 999000),  # a Sunday
        datetime(2018, 12, 31, 0, 0),  # a Monday, of the first ISO week of the next year
        datetime(2018, 12, 31, 0, 59, 59, 999000),
        datetime(2021, 1, 3, 12, 30),  # of the last week of the year before
        datetime(2024, 2, 29, 5, 0),
    ]
    stamps = [int((at - datetime(1970, 1, 1)) / timedelta(milliseconds=1)) for at in moments]
    world.catalogue(song())
    world.log(*(event(ts=ts, page="Home") for ts in stamps))
    world.load()
    assert world.rows("select * from time order by start_time") == [
        (2018123023, 23, 30, 52, 12, 2018, 7),
        (2018123100, 0, 31, 1, 12, 2018, 1),
        (2021010312, 12, 3, 53, 1, 2021, 7),
        (2024022905, 5, 29, 9, 2, 2024, 4),
    ]


# Rule 8: keys are stable


def test_rule_8_a_users_key_is_of_its_own_values_and_no_other(world, event, other):
    world.catalogue(other)
    world.log(event(ts=T))
    world.load()
    digest = hashlib.md5(f"{T}|4|free8".encode()).hexdigest()
    assert world.rows("select user_key from users") == [(int(digest[:15], 16),)]


def test_rule_8_an_event_in_two_files_is_staged_twice_and_is_one_play(world, event, other):
    world.catalogue(other)
    world.log(event(ts=T), file="a.json")
    world.log(event(ts=T), event(ts=T + 1), file="b.json")
    world.load()
    world.log(event(ts=T), file="c.json", layout="pretty")
    world.load()
    assert plays(world) == [play(T), play(T + 1)]
    assert world.rows("select ts from staging_events order by ts") == [(T,), (T,), (T,), (T + 1,)]


@pytest.mark.parametrize("field", ["sessionId", "userId", "ts"])
def test_rule_8_a_play_is_identified_by_timestamp_session_item_and_user(world, event, other, field):
    world.catalogue(other)
    world.log(event(ts=T), event(**{"ts": T, field: T + 7}), event(ts=T))
    world.load()
    assert len(plays(world)) == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [("song", "x"), ("artist", None), ("location", ""), ("userAgent", "x"), ("length", 1.5)],
)
@pytest.mark.parametrize("loads", [1, 2])
def test_rule_8_two_different_plays_of_one_timestamp_session_item_and_user_stop_the_load(
    world, event, other, field, value, loads
):
    world.catalogue(other)
    world.log(event(ts=T))
    if loads == 2:
        world.load()
    before = world.tables()
    world.log(event(ts=T, **{field: value}), file="again.json")
    with pytest.raises(LoadError, match=r"^The audit plays_are_told_apart found 2 rows"):
        world.load()
    assert world.tables() == before


# Rule 9: the order of loads does not matter


LATE = {  # events of two loads, each by time and level; and the versions after the second
    "splits a version": (
        [(0, "free"), (10, "free"), (20, "free")],
        [(9, "paid")],
        [("free", 0, 9), ("paid", 9, 10), ("free", 10)],
    ),
    "begins a version": (
        [(0, "free"), (10, "paid"), (20, "paid")],
        [(5, "paid")],
        [("free", 0, 5), ("paid", 5)],
    ),
    "is earlier than all": ([(0, "free")], [(-10, "free")], [("free", -10)]),
    "is of the same millisecond": ([(0, "free")], [(0, "paid")], [("paid", 0)]),
}


@pytest.mark.parametrize("what", LATE)
def test_rule_9_a_late_event_changes_the_versions_of_its_user_and_rekeys_the_plays(
    world, event, other, what
):
    first, late, versions = LATE[what]
    world.catalogue(other)
    world.log(*(event(ts=T + at, level=level) for at, level in first), event(userId="10", ts=T))
    world.load()
    events = [event(ts=T + at, level=level, itemInSession=9, page="Home") for at, level in late]
    world.log(*events, file="late.json")
    world.load()
    expected = [version(level, *(T + at for at in bounds)) for level, *bounds in versions]
    assert users(world) == [version("free", T, user_id="10"), *expected]
    for row in plays(world):
        if row["user"][0] == "8":
            (held,) = [v for v in expected if is_in_force(v, row["played_at"])]
            assert (row["level"], row["user"][1]) == (held[4], held[5])


def test_rule_9_songs_that_arrive_after_their_plays_are_matched(world, song, play_of, event):
    late = song(song_id="SO9", title="Kiss", artist_name="Prince")
    world.catalogue(song())
    world.log(play_of(late, ts=T), event(ts=T + 1))
    world.load()
    world.catalogue(late, file="late.json")
    load = world.load()
    assert plays(world) == [play(T, **matched(late)), play(T + 1)]
    assert (load.matched, load.plays) == (1, 2)


def test_rule_9_a_later_record_that_renames_a_song_takes_its_plays_along(world, song, play_of):
    first = song(title="Kiss", year=0)
    second = song(title="Kiss (remastered)", year=1999)
    world.catalogue(first)
    world.log(play_of(first, ts=T), play_of(second, ts=T + 1))
    world.load()
    assert [row["song_id"] for row in plays(world)] == [first["song_id"], None]
    world.catalogue(second, file="late.json")
    world.load()
    assert plays(world) == [
        play(T, song_title="Kiss", artist_name=first["artist_name"]),
        play(T + 1, **matched(second)),
    ]


# What a load promises


def test_loading_twice_changes_nothing(world, event, song, play_of):
    world.catalogue(song(), song(song_id="SO2"))
    world.log(play_of(song(), ts=T), event(ts=T + 1, level="paid"), event(userId="", page="Home"))
    world.load()
    before = world.tables()
    again = world.load()
    assert world.tables() == before
    assert str(again) == "Nothing new: all 2 files were loaded before. Nothing was changed."
    assert (again.new_files, again.known_files) == (
        {"songs": 0, "events": 0},
        {"songs": 1, "events": 1},
    )


def test_only_new_files_are_loaded_and_the_result_says_how_many(world, event, song):
    world.catalogue(song())
    world.log(event(ts=T))
    world.load()
    world.log(event(ts=T + 1), event(ts=T + 2), file="2018/12/events.json")
    load = world.load()
    assert str(load) == (
        "Loaded 1 new files (0 of songs, 1 of events); 2 files were loaded before. 9 audits "
        "passed.\n0.0% of 3 plays are matched to a song of the catalogue."
    )
    frame = load.frame().set_index("table")
    assert frame.loc["songplays"].to_dict() == {"before": 1, "added": 2, "now": 3}
    assert frame["now"].to_dict() == world.dwh.count_rows()


def test_the_ledger_has_one_row_for_each_file(world, event, song):
    song_file = world.catalogue(song(), song(song_id="SO2"), layout="pretty")
    world.log(event(ts=T))
    world.load()
    log_file = world.log(b"", file="empty.json")
    world.load()
    rows = world.rows(
        "select file_key, kind, size_bytes, content_hash, row_count, reject_count, batch_id "
        "from load_files order by batch_id, kind desc"
    )
    hashes = [hashlib.sha256(file.read_bytes()).hexdigest() for file in (song_file, log_file)]
    assert rows[0] == (str(song_file), "songs", song_file.stat().st_size, hashes[0], 2, 0, 1)
    assert rows[2] == (str(log_file), "events", 0, hashes[1], 0, 0, 2)
    assert len(rows) == 3
    ((first, last),) = world.rows("select min(loaded_at), max(loaded_at) from load_files")
    assert timedelta() < last - first < timedelta(minutes=5)
    assert world.rows("select * from load_rejects") == []


def test_what_every_layout_holds_is_the_same_data(world, event, song, layout):
    world.catalogue(song(song_id="SO1"), song(song_id="SO2"), song(song_id="SO3"), layout=layout)
    world.log(*(event(ts=T + i, itemInSession=i) for i in range(3)), layout=layout)
    steps = []
    world.load(steps.append)
    assert len([step for step in steps if step.startswith("reading")]) == 2  # each kind once
    assert world.rows("select song_id from songs order by 1") == [("SO1",), ("SO2",), ("SO3",)]
    assert plays(world) == [play(T + i, item_in_session=i) for i in range(3)]


def test_a_folders_name_is_no_data_and_no_pattern(world, event, song):
    folders = ["year=1492", "title=x/year=1492", "batch_id=7", "[2018]", "a*b", "a?", "{a}"]
    folders += ["it's", "a;\nb", "ü"]
    titles = sorted(f"{number} {'long' * 50}" for number in range(len(folders)))
    for folder, title in zip(folders, titles, strict=True):
        songs = [song(song_id=f"{folder}{i}", title=title) for i in range(3000)]
        file = world.catalogue(*songs, file=f"{folder}/songs.json")
        assert file.stat().st_size > 1 << 20
    world.log(event())
    world.load()
    found = world.rows(
        "select title, year, count(*), min(batch_id) from staging_songs group by title, year"
    )
    assert sorted(found) == [(title, 1995, 3000, 1) for title in titles]


def test_progress_tells_each_step_in_a_few_words(world, event, song):
    world.catalogue(song())
    world.log(event(), event())
    steps = []
    world.load(steps.append)
    assert steps == [
        "reading songs",
        "reading events",
        "staging 1 songs",
        "staging 2 events",
        *(merge.replace("_", " ") for merge in MERGES if merge not in EARLIER),
        "merging duplicates",
        "auditing",
    ]


# One transaction


@pytest.fixture
def loaded(world, event, song, play_of):
    """A warehouse with a load in it, and everything that a second one would change."""
    late = song(song_id="SO9", title="Kiss", artist_name="Prince")
    world.catalogue(song())
    world.log(event(ts=T), play_of(late, ts=T + 10), play_of(song(), ts=T + 20))
    world.load()
    world.catalogue(late, song(year=0), file="late.json")
    world.log(event(ts=T), event(ts=T + 5, level="paid"), file="late.json")
    return world


STEPS = [
    *("load/stage_songs", "load/stage_events"),
    *(f"load/{step}" for step in MERGES),
    "load/merge_duplicates",
    "status/found",
    "load_files",
]


def test_a_failure_at_any_step_leaves_everything_as_it_was(loaded, monkeypatch):
    def failing(method, step, error):
        def run(self, name, *rest, **values):
            result = method(self, name, *rest, **values)
            if name == step:
                raise error(step)
            return result

        return run

    before, engine = loaded.tables(), type(loaded.dwh)
    errors = [*((step, RuntimeError) for step in STEPS), ("load/merge_users", KeyboardInterrupt)]
    for step, error in errors:
        with monkeypatch.context() as patch:
            for method in ("run", "rows", "frame", "append"):
                patch.setattr(engine, method, failing(getattr(engine, method), step, error))
            with pytest.raises(error, match=step):
                loaded.load()
        assert loaded.tables() == before, step
    loaded.load()
    assert loaded.rows("select count(*) from songplays where song_id is not null") == [(2,)]


def test_nothing_is_visible_before_the_commit(loaded):
    before = loaded.tables()
    seen = []
    loaded.load(lambda step: seen.append(loaded.tables()))
    assert all(tables == before for tables in seen)
    assert loaded.tables() != before


# Audits


@pytest.mark.parametrize(
    ("left_out", "audit", "shown"),
    [
        ("merge_songs", "no_orphan_keys", "songs"),
        ("merge_artists", "no_orphan_keys", "artists"),
        ("merge_time", "no_orphan_keys", "time"),
        ("merge_users rekey_songplays", "every_play_is_there", "2018-11-01 09:00:00"),
        ("merge_songplays", "every_play_is_there", "2018-11-01 09:00:00"),
    ],
)
def test_an_audit_catches_a_step_left_out_and_shows_the_rows(
    world, event, song, play_of, monkeypatch, left_out, audit, shown
):
    world.catalogue(song())
    world.log(event(ts=T), event(ts=T), play_of(song(), ts=T + 1))
    before = world.tables()
    monkeypatch.setattr("lib.load.star.MERGES", [step for step in MERGES if step not in left_out])
    with pytest.raises(LoadError) as caught:
        world.load()
    heading, first = str(caught.value).split("\n", 1)
    assert heading.startswith(f"The audit {audit} found ")
    assert heading.endswith(" rows, so nothing was loaded. The first:")
    assert shown in first.splitlines()[1]
    assert world.tables() == before


def test_an_audit_catches_plays_that_were_not_rekeyed(world, event, other, monkeypatch):
    world.catalogue(other)
    world.log(event(ts=T), event(ts=T + 10))
    world.load()
    before = world.tables()
    world.log(event(ts=T + 5, level="paid"), file="late.json")
    monkeypatch.setattr("lib.load.star.MERGES", [s for s in MERGES if s != "rekey_songplays"])
    with pytest.raises(LoadError, match=r"^The audit no_orphan_keys found 1 rows"):
        world.load()
    assert world.tables() == before


@pytest.mark.parametrize(
    "damage",
    [
        "insert into users select 1, user_id, first_name, last_name, gender, level, valid_from, "
        "valid_to, is_current from users",
        "update users set is_current = not is_current",
        "update users set valid_to = valid_from, is_current = false",
        "insert into users select 1, user_id, first_name, last_name, gender, 'paid', "
        "valid_from + interval '1 day', valid_to, is_current from users",
    ],
)
def test_an_audit_catches_versions_that_do_not_follow_one_another(world, event, other, damage):
    world.catalogue(other)
    world.log(event(ts=T, page="Home"))
    world.load()
    world.dwh._execute(damage)
    world.log(event(ts=T, userId="10"), file="late.json")
    with pytest.raises(LoadError, match=r"^The audit user_versions_follow found "):
        world.load()


def test_an_audit_shows_five_rows_and_says_how_many_there_are(world, event, other, monkeypatch):
    world.catalogue(other)
    world.log(*(event(ts=T + i * HOUR) for i in range(1200)))
    monkeypatch.setattr("lib.load.star.MERGES", [s for s in MERGES if s != "merge_songplays"])
    with pytest.raises(LoadError) as caught:
        world.load()
    assert "found 1,200 rows" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1 + 1 + 5


@pytest.mark.parametrize(("floor", "passes"), [(0.5, True), (0.51, False), (1, False)])
def test_coverage_below_its_floor_stops_the_load(
    tmp_path, new_world, event, song, play_of, floor, passes
):
    world = new_world(tmp_path, min_coverage=floor)
    world.catalogue(song())
    world.log(event(ts=T), play_of(song(), ts=T + 1))
    if passes:
        assert world.load().coverage == 0.5
    else:
        with pytest.raises(LoadError) as caught:
            world.load()
        assert str(caught.value).splitlines() == [
            "The audit coverage_reaches_floor found 1 rows, so nothing was loaded. The first:",
            " matched  plays",
            "       1      2",
        ]
        assert set(world.dwh.count_rows().values()) == {0}
    world.close()


# Bad input


@pytest.mark.parametrize(
    ("body", "line", "reason"),
    [
        (b"artist,song\n1,2\n", 1, "not valid JSON"),
        (b'{"a": 1}\n', 1, "the record has no ts, as all events have"),
        (b"GOOD\nGOOD\n{oops}\nGOOD\n", 3, "not valid JSON"),
        (b"GOOD\nGOOD\n\n[GOOD]\n", 4, "expected an object"),
        (b"GOOD\nGOOD", 2, "not valid JSON"),
        (b"GOODGOOD\nGOOD{", 2, "not valid JSON"),
        (b"\xff\xfe{\x00}\x00", 1, "not UTF-8 text"),
    ],
)
@pytest.mark.parametrize("size", ["small", "large"])
def test_a_bad_record_stops_the_load_with_its_file_and_line(
    loaded, event, body, line, reason, size
):
    good = json.dumps(event(userAgent="x" * 200)).encode()
    if body == b"GOOD\nGOOD":  # cut off
        body = good + b"\n" + good[:-5]
    lines = 0 if size == "small" else 3000
    filler = (good + b"\n") * lines
    file = loaded.log(filler + body.replace(b"GOOD", good), file="bad.json")
    before = loaded.tables()
    with pytest.raises(BadRecords) as caught:
        loaded.load()
    said = str(caught.value)
    assert said.startswith(f"{file}, line {lines + line}: {reason}")
    assert "Nothing was loaded; mend or take out" in said
    assert loaded.tables() == before


@pytest.mark.parametrize("kind", ["events", "songs"])
@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_a_folder_without_a_single_record_stops_the_load(world, event, song, content, kind):
    world.catalogue(content if kind == "songs" else song())
    world.log(content if kind == "events" else event())
    with pytest.raises(LoadError) as caught:
        world.load()
    folder = world.logs if kind == "events" else world.songs
    assert str(caught.value) == (
        f"{folder} holds 1 files and not one record of {kind}; "
        "name the folder that holds them. Nothing was loaded."
    )
    assert set(world.dwh.count_rows().values()) == {0}


@pytest.mark.parametrize("missing", ["log_data", "song_data"])
def test_a_missing_folder_stops_the_load(world, event, song, missing):
    if missing == "song_data":
        world.log(event())
    else:
        world.catalogue(song())
    with pytest.raises(
        SourceError, match=f"^There is no folder {world.folder / missing}; name the"
    ):
        world.load()
    assert set(world.dwh.count_rows().values()) == {0}


@pytest.mark.parametrize("layout", ["lines", "pretty"])
def test_logs_and_songs_swapped_stop_the_load(world, event, song, layout):
    file = world.catalogue(event(), layout=layout)
    world.log(song(), layout=layout)
    with pytest.raises(BadRecords) as caught:
        world.load()
    assert str(caught.value).startswith(
        f"{file}, line 1: the record has no song_id, as all songs have"
    )
    assert set(world.dwh.count_rows().values()) == {0}
