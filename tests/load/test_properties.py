"""Any split of the data into files and loads, in any order and layout, is the same warehouse.

Few users, titles, artists and moments, so that what is rare in real data is common here: events in
one millisecond, level flips, the same event twice, songs with several records, missing values.
The rules of users and plays are also written down a second time below, in plain Python.
"""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from contextlib import contextmanager
from datetime import datetime, timedelta

import hypothesis
import pytest
from hypothesis import strategies as st

T = 1541062800000
EXAMPLES = int(os.environ.get("SPARKIFY_EXAMPLES", "40"))
SLOWER = 10  # times fewer examples where a load is a conversation with a server
LAYOUTS = ("lines", "pretty", "gzip", "gzip of pretty", "several on a line", "bom", "crlf")
STAR = ("users", "songs", "artists", "time", "songplays")
STAGING = ("staging_events", "staging_songs")

checked = hypothesis.settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="SPARKIFY_EXAMPLES" not in os.environ,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
# Fewer, and a failure is shown as it was found: to look for a smaller one would take minutes.
fewer = hypothesis.settings(
    checked, max_examples=max(EXAMPLES // SLOWER, 3), phases=[hypothesis.Phase.generate]
)


def one_of(*values):
    return st.sampled_from(values)


EVENTS = st.fixed_dictionaries(
    {
        "ts": one_of(T, T + 1, T + 2, T + 3_600_000, T - 60_000),
        "sessionId": one_of(1, 2),
        "itemInSession": one_of(0, 1, 10),
        "userId": one_of("8", "8", "8", "10", 10, " 8", "", None),
        "level": one_of("free", "paid"),
        "page": one_of("NextSong", "NextSong", "NextSong", "Home"),
        "song": one_of("Hello", " Hello ", "Kiss", 311, "311", "", None),
        "artist": one_of("Adele", "Adele", "Prince ", 311, "", None),
        "length": one_of(100.0, 150.0, 200.25, 0, None),
        "firstName": one_of("Ann", "Bea", None),
        "lastName": one_of("Lee", None),
        "gender": one_of("F", None),
        "location": one_of("Oslo", "", None),
    }
)
SONGS = st.fixed_dictionaries(
    {
        "song_id": one_of("SO1", "SO2", "SO3", "SO4"),
        "title": one_of("Hello", "Hello ", "Kiss", 311),
        "artist_id": one_of("AR1", "AR2"),
        "artist_name": one_of("Adele", "Prince", " Prince", 311),
        "artist_location": one_of("Oslo", "", " ", None),
        "artist_latitude": one_of(1.5, 0.0, None),
        "artist_longitude": one_of(-2.5, None),
        "duration": one_of(100.0, 200.0, 0, None),
        "year": one_of(0, 1999, 2001, None),
    }
)


def identify_play(event: dict) -> tuple:
    """Return what a play is known by: two different ones that have it in common stop a load."""
    return (event["ts"], event["sessionId"], event["itemInSession"], user_of(event))


@st.composite
def split(draw, records, loads: int):
    """Draw records, each with the load and the file that bring it; some come twice."""
    drawn = draw(st.lists(records, min_size=1, max_size=8))
    if "ts" in drawn[0]:
        drawn = list({identify_play(event): event for event in drawn}.values())
    drawn += [drawn[at] for at in draw(st.lists(st.integers(0, len(drawn) - 1), max_size=2))]
    drawn = draw(st.permutations(drawn))
    places = [draw(st.tuples(st.integers(0, loads - 1), st.integers(0, 2))) for _ in drawn]
    places[0] = (0, 0)  # a folder without any record is refused
    return list(zip(places, drawn, strict=True))


@st.composite
def deliveries(draw):
    """Draw events and songs, split into one to four loads, and a layout for each file."""
    loads = draw(st.integers(1, 4))
    events, songs = draw(split(EVENTS, loads)), draw(split(SONGS, loads))
    layouts = draw(st.lists(one_of(*LAYOUTS), min_size=3, max_size=3))
    return loads, events, songs, layouts


def of_load(number: int, split_records) -> list[tuple[int, list[dict]]]:
    """Return the files of one load: name, and records in their order."""
    files = defaultdict(list)
    for (load, file), record in split_records:
        if load == number:
            files[file].append(record)
    return sorted(files.items())


@pytest.fixture(scope="module")
def fresh(tmp_path_factory, new_world):
    """Make empty worlds, each in a folder of its own."""

    @contextmanager
    def make(engine="local"):
        folder = tmp_path_factory.mktemp("world")
        world = new_world(folder, engine, s3=engine == "redshift")
        try:
            yield world
        finally:
            world.close()
            shutil.rmtree(folder)

    return make


def bag(rows) -> list[tuple]:
    return sorted(rows, key=repr)


def contents(world) -> dict[str, list[tuple]]:
    """Return the rows of staging and star as bags, without the number of the load."""
    rows = world.tables()
    staged = {table: bag(row[:-1] for row in rows[table]) for table in STAGING}
    return staged | {table: rows[table] for table in STAR}


# The rules once more


def text(value) -> str | None:
    return None if value is None else str(value)


def trimmed(value) -> str | None:
    return None if value is None else str(value).strip(" ")


def moment(ts: int) -> datetime:
    return datetime(1970, 1, 1) + timedelta(milliseconds=ts)


def nulls_last(value):
    return (value is None, value if value is not None else 0)


def user_of(event: dict) -> str:
    return (text(event["userId"]) or "").strip(" ")


def expected_users(events) -> list[tuple]:
    """Return user, first name, last name, gender, level and bounds of each version."""
    timelines = defaultdict(list)
    for event in events:
        if user_of(event):
            timelines[user_of(event)].append(event)
    rows = []
    for user, timeline in timelines.items():
        level_at = {}  # the last level of each millisecond, in the order of time
        order = ("ts", "sessionId", "itemInSession", "level")
        for event in sorted(timeline, key=lambda e: [e[name] for name in order]):
            level_at[event["ts"]] = event["level"]
        starts = []
        for ts, level in level_at.items():
            if not starts or starts[-1][1] != level:
                starts.append((ts, level))
        names = latest_names(timeline)
        ends = [moment(ts) for ts, _ in starts[1:]] + [None]
        rows += [
            (user, *names, level, moment(ts), end, end is None)
            for (ts, level), end in zip(starts, ends, strict=True)
        ]
    return rows


def latest_names(timeline) -> tuple:
    """Return the names and gender of the latest event that has a name."""
    named = [e for e in timeline if e["firstName"] is not None or e["lastName"] is not None]
    if not named:
        return (None, None, None)
    last = max((e["ts"], e["sessionId"], e["itemInSession"]) for e in named)
    of_last = [e for e in named if (e["ts"], e["sessionId"], e["itemInSession"]) == last]
    return min(
        ((e["firstName"], e["lastName"], e["gender"]) for e in of_last),
        key=lambda names: [name or "" for name in names],
    )


def expected_songs(songs) -> dict[str, tuple]:
    """Return title, artist's name, artist's id, year and duration by song: its best record."""

    def rank(song):
        known = (song["year"] or 0) > 0
        named = (trimmed(song["title"]), trimmed(song["artist_name"]), song["artist_id"])
        numbers = (nulls_last(song["year"]), nulls_last(song["duration"]))
        return (not known, *named, *numbers)

    best = {}
    for song in sorted(songs, key=rank):
        best.setdefault(
            song["song_id"],
            (
                trimmed(song["title"]),
                trimmed(song["artist_name"]),
                song["artist_id"],
                song["year"] or None,
                song["duration"],
            ),
        )
    return best


def expected_plays(events, songs) -> set[tuple]:
    """Return what each play shows, its user's version by id and beginning."""
    catalogue = expected_songs(songs)
    versions = expected_users(events)
    rows = set()
    for event in events:
        if event["page"] != "NextSong":
            continue
        user, at = user_of(event), moment(event["ts"])
        (version,) = [
            (row[0], row[5], row[4])
            for row in versions
            if row[0] == user and row[5] <= at and (row[6] is None or at < row[6])
        ] or [(None, None, None)]
        named = (trimmed(event["song"]), trimmed(event["artist"]))
        fits = [
            (
                abs(duration - event["length"])
                if None not in (duration, event["length"])
                else float("inf"),
                song_id,
                artist_id,
            )
            for song_id, (title, artist, artist_id, _, duration) in catalogue.items()
            if (title, artist) == named
        ]
        rows.add(
            (
                int(at.strftime("%Y%m%d%H")),
                at,
                *version,
                *(min(fits)[1:] if fits else (None, None)),
                event["sessionId"],
                event["itemInSession"],
                *named,
                event["location"],
                event["length"],
            )
        )
    return rows


VERSIONS = """
select user_id, first_name, last_name, gender, level, valid_from, valid_to, is_current from users
"""
PLAYS = """
select songplays.start_time, played_at, user_id, valid_from, songplays.level, song_id, artist_id,
    session_id, item_in_session, song_title, artist_name, songplays.location
from songplays left join users on songplays.user_key = users.user_key
"""


@pytest.fixture(scope="module")
def deliver(event, song):
    """Write the files of one load, and load them."""

    def deliver_(world, number, delivery):
        _, events, songs, layouts = delivery
        for file, records in of_load(number, events):
            made = [event(**fields) for fields in records]
            world.log(*made, file=f"{number}/{file}.json", layout=layouts[file])
        for file, records in of_load(number, songs):
            made = [song(**fields) for fields in records]
            world.catalogue(*made, file=f"{number}/{file}.json", layout=layouts[-file])
        return world.load()

    return deliver_


def follow_the_rules(world, deliver, delivery) -> None:
    """Load what is delivered, and compare the warehouse with the rules after each load."""
    loads, events, songs, _ = delivery
    for number in range(loads):
        result = deliver(world, number, delivery)
        known_events = [event for (load, _), event in events if load <= number]
        known_songs = [song for (load, _), song in songs if load <= number]
        plays = expected_plays(known_events, known_songs)
        assert bag(world.rows(VERSIONS)) == bag(expected_users(known_events))
        assert bag(world.rows("select * from songs")) == bag(
            (song_id, title, artist_id, year, duration)
            for song_id, (title, _, artist_id, year, duration) in expected_songs(
                known_songs
            ).items()
        )
        assert bag(world.rows(PLAYS)) == bag(play[:-1] for play in plays)
        assert (result.plays, result.matched) == (
            len(plays),
            sum(song_id is not None for *_, song_id in (play[:6] for play in plays)),
        )


def is_as_one_load(world, once, deliver, delivery) -> None:
    """Load all that was delivered at once and locally, and compare the two warehouses."""
    everything = [[((0, 0), record) for _, record in part] for part in delivery[1:3]]
    deliver(once, 0, (1, *everything, ["lines"]))
    assert contents(world) == contents(once)


@checked
@hypothesis.given(delivery=deliveries())
def test_any_split_order_and_layout_follows_the_rules_and_is_the_same_warehouse_as_one_load(
    fresh, deliver, delivery
):
    with fresh() as world, fresh() as once:
        follow_the_rules(world, deliver, delivery)
        is_as_one_load(world, once, deliver, delivery)
        before = world.tables()
        assert not sum(world.load().new_files.values())
        assert world.tables() == before


@fewer
@hypothesis.given(delivery=deliveries())
def test_any_split_order_and_layout_is_the_same_on_another_engine(fresh, deliver, delivery):
    with fresh("redshift") as world, fresh() as once:
        follow_the_rules(world, deliver, delivery)
        is_as_one_load(world, once, deliver, delivery)
