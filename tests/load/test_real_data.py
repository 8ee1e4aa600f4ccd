"""On the real data the warehouse holds what a count that shares no code with it gives."""

import json
from collections import Counter, defaultdict
from datetime import datetime, timedelta

import pytest

from tests.differential import differences
from tests.load.test_properties import expected_users


@pytest.fixture(scope="module")
def loaded(real_data, new_world, tmp_path_factory):
    """Make an engine's warehouse, loaded from the real data twice, with what both loads said."""
    places = {name: real_data / name for name in ("log_data", "song_data")}
    made = {}

    def make(engine: str):
        if engine not in made:
            made[engine] = world = new_world(tmp_path_factory.mktemp("real"), engine, **places)
            world.said = [str(world.load()), str(world.load())]
        return made[engine]

    yield make
    for world in made.values():
        world.close()


@pytest.fixture(scope="module")
def real(loaded, engine):
    return loaded(engine)


def in_ms(row: tuple) -> tuple:
    """Return a row with its timestamps as milliseconds since 1970."""
    since = datetime(1970, 1, 1)
    unit = timedelta(milliseconds=1)
    return tuple((v - since) // unit if isinstance(v, datetime) else v for v in row)


@pytest.fixture(scope="module")
def events(real_data) -> list[dict]:
    files = sorted((real_data / "log_data").rglob("*.json"))
    return [json.loads(line) for file in files for line in file.read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def songs(real_data) -> list[dict]:
    return [
        json.loads(file.read_text("utf-8")) for file in (real_data / "song_data").rglob("*.json")
    ]


def test_rows_of_every_table(real):
    assert real.dwh.count_rows() == {
        "staging_events": 4_965,
        "staging_songs": 7_493,
        "users": 96,
        "songs": 7_493,
        "artists": 5_883,
        "time": 368,
        "songplays": 4_223,
        "load_files": 7_513,
        "load_rejects": 0,
    }


def test_matched_plays(real):
    assert real.dwh.coverage() == (4_223, 104)


def test_people_and_their_current_levels(real):
    assert real.rows("select count(distinct user_id) from users") == [(89,)]
    assert real.rows(
        "select level, count(*) from users where is_current group by level order by level"
    ) == [("free", 69), ("paid", 20)]


def test_plays_while_free_and_while_paid(real):
    assert real.rows("select level, count(*) from songplays group by level order by level") == [
        ("free", 856),
        ("paid", 3_367),
    ]


def test_sessions(real):
    assert real.rows(
        "select count(*) from (select distinct user_id, session_id from staging_events "
        "where user_id <> '')"
    ) == [(601,)]


def test_most_played_artists(real):
    frame = real.dwh.analysis("top_artists", top=3, least=5)
    played = sorted(zip(frame["artist_name"], frame["plays"], strict=True), key=lambda row: -row[1])
    assert played[:2] in (
        [("Coldplay", 34), ("Kings Of Leon", 34)],
        [("Kings Of Leon", 34), ("Coldplay", 34)],
    )
    assert played[2] == ("The Black Keys", 28)


def test_loading_it_again_changes_nothing(real):
    assert real.said == [
        "Loaded 7,513 new files (7,493 of songs, 20 of events). 9 audits passed.\n2.5% of 4,223 "
        "plays are matched to a song of the catalogue.",
        "Nothing new: all 7,513 files were loaded before. Nothing was changed.",
    ]


def test_matched_plays_counted_by_plain_python(real, events, songs):
    catalogue = defaultdict(list)
    for song in songs:
        named = (str(song["title"]).strip(" "), str(song["artist_name"]).strip(" "))
        catalogue[named].append((song["duration"], song["song_id"], song["artist_id"]))
    expected = Counter()
    for event in events:
        fits = catalogue.get((str(event["song"]).strip(" "), str(event["artist"]).strip(" ")))
        if event["page"] == "NextSong" and fits:
            nearest = min(fits, key=lambda fit: (abs(fit[0] - event["length"]), fit[1]))
            expected[(event["ts"], event["sessionId"], *nearest[1:])] += 1
    found = real.rows(
        "select played_at, session_id, song_id, artist_id from songplays where song_id is not null"
    )
    assert Counter(map(in_ms, found)) == expected
    assert expected.total() == 104


def test_user_versions_counted_by_plain_python(real, events):
    found = real.rows(
        "select user_id, first_name, last_name, gender, level, valid_from, valid_to, is_current "
        "from users"
    )
    assert set(found) == set(expected_users(events))
    assert len(found) == 96


def test_every_play_is_one_row_with_its_own_texts(real, events):
    as_it_is = ("ts", "sessionId", "itemInSession", "location", "userAgent")
    trimmed = ("song", "artist")
    expected = Counter(
        (*(event[key] for key in as_it_is), *(str(event[key]).strip(" ") for key in trimmed))
        for event in events
        if event["page"] == "NextSong"
    )
    found = real.rows(
        "select played_at, session_id, item_in_session, location, user_agent, "
        "song_title, artist_name from songplays"
    )
    assert Counter(map(in_ms, found)) == expected


def test_every_song_is_one_row_with_numbers_as_text_and_year_zero_as_null(real, songs):
    expected = Counter(
        (
            song["song_id"],
            str(song["title"]).strip(" "),
            song["artist_id"],
            song["year"] or None,
            song["duration"],
        )
        for song in songs
    )
    assert Counter(real.rows("select * from songs")) == expected
    assert {"4", "101", "1888", "2129"} <= {title for _, title, *_ in expected}


def test_coordinates_are_known_in_pairs_and_no_location_is_empty(real):
    assert (
        real.rows(
            "select artist_id from artists "
            "where (latitude is null) <> (longitude is null) or trim(location) = ''"
        )
        == []
    )


def test_every_table_and_analysis_is_equal_on_both_engines(loaded):
    one, other = loaded("local"), loaded("redshift")
    assert one.said == other.said
    assert differences(one.dwh, other.dwh) == []
