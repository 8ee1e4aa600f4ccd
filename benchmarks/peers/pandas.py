"""pandas and psycopg2, row by row into PostgreSQL, as course projects on this data set do."""

import io
import sys
import time

import pandas as pd

from benchmarks.peers import COUNTS, events_of, songs_of, tell
from benchmarks.peers.server import connected

TABLES = """
create table songs (
    song_id text primary key,
    title text,
    artist_id text,
    year integer,
    duration double precision,
    artist_name text
);
create index on songs (title, artist_name);
create table artists (
    artist_id text primary key,
    name text,
    location text,
    latitude double precision,
    longitude double precision
);
create table time (
    start_time integer primary key,
    hour integer,
    day integer,
    week integer,
    month integer,
    year integer,
    weekday integer
);
create table users (
    user_key text primary key,
    user_id text,
    first_name text,
    last_name text,
    gender text,
    level text,
    valid_from timestamp,
    valid_to timestamp,
    is_current boolean
);
create table songplays (
    songplay_key text primary key,
    start_time integer,
    played_at timestamp,
    user_key text,
    level text,
    song_id text,
    artist_id text,
    session_id bigint,
    item_in_session integer,
    song_title text,
    artist_name text,
    location text,
    user_agent text
)
"""
FIND_SONG = """
select song_id, artist_id from songs where title = %s and artist_name = %s
order by abs(floor(duration * 1e5 + 0.5) - %s), song_id limit 1
"""
TEXTS = ("artist", "song", "userId", "firstName", "lastName", "location", "userAgent")
EVENT = ["ts", "userId", "sessionId", "itemInSession", "exact_length", "song", "artist"]
EVENT += ["location", "userAgent"]
ORDER = ["ts", "sessionId", "itemInSession"]


def texts(frame: pd.DataFrame, columns: tuple[str, ...]) -> pd.DataFrame:
    """Return a frame whose numbers in text columns are text, without the spaces around it."""
    clean = {c: [None if pd.isna(v) else str(v).strip(" ") for v in frame[c]] for c in columns}
    return frame.assign(**{c: pd.Series(v, frame.index, object) for c, v in clean.items()})


def insert(cursor, table: str, frame: pd.DataFrame) -> None:
    """Insert the rows of a frame, one statement a row."""
    statement = f"insert into {table} values ({', '.join(['%s'] * frame.shape[1])})"
    plain = frame.astype(object).where(frame.notna(), None)
    for row in plain.itertuples(index=False, name=None):
        cursor.execute(statement, row)


def songs_and_artists(cursor, data: str) -> None:
    """Fill `songs` and `artists`."""
    text = io.StringIO("\n".join(songs_of(data)))
    records = pd.read_json(text, lines=True, dtype=False)
    records = texts(records, ("title", "artist_name", "artist_location"))
    records["artist_location"] = records["artist_location"].replace("", None)
    records["year"] = records["year"].where(records["year"] > 0)
    place = records[["artist_latitude", "artist_longitude"]].astype(float)
    records[place.columns] = place.where(place.notna().all(axis=1))
    songs = records.sort_values(["year", "title", "artist_name", "artist_id", "duration"])
    songs = songs.drop_duplicates("song_id")
    order = ["song_id", "title", "artist_id", "year", "duration", "artist_name"]
    insert(cursor, "songs", songs[order])
    spelled = ["artist_id", "artist_name", "artist_location", *place.columns]
    artists = records.groupby(spelled, dropna=False).size().rename("songs").reset_index()
    artists["nowhere"] = artists["artist_latitude"].isna()
    artists["unknown"] = artists["artist_location"].isna()
    order = ["nowhere", "unknown", "songs", *spelled[1:]]
    artists = artists.sort_values(order, ascending=[True, True, False, *[True] * 4])
    insert(cursor, "artists", artists.drop_duplicates("artist_id")[spelled])


def events_from(data: str) -> pd.DataFrame:
    """Return the events, one a row."""
    parts = [pd.read_json(path, lines=True, dtype=False) for path in events_of(data)]
    events = texts(pd.concat(parts, ignore_index=True), TEXTS)
    events["userId"] = events["userId"].fillna("")
    events["exact_length"] = (events["length"].astype(float) * 1e5 + 0.5) // 1
    events["start_time"] = pd.to_datetime(events["ts"], unit="ms")
    return events


def hours(cursor, events: pd.DataFrame) -> None:
    """Fill `time`."""
    at = events["start_time"].dt.floor("h").drop_duplicates().dt
    week = at.isocalendar()["week"]
    key = at.strftime("%Y%m%d%H").astype(int)
    parts = [key, at.hour, at.day, week, at.month, at.year, at.day_of_week + 1]
    insert(cursor, "time", pd.concat(parts, axis=1))


def versions_of_users(cursor, events: pd.DataFrame) -> pd.DataFrame:
    """Fill `users`, and return each version's user, key, level and start."""
    users = events[events["userId"] != ""].sort_values([*ORDER, "level"])
    changes = users[users["level"] != users.groupby("userId")["level"].shift()]
    moments = changes.drop_duplicates(["userId", "ts"], keep="last")
    starts = moments[moments["level"] != moments.groupby("userId")["level"].shift()].copy()
    starts["user_key"] = starts["userId"] + "|" + starts["ts"].astype(str) + "|" + starts["level"]
    starts["valid_to"] = starts.groupby("userId")["start_time"].shift(-1)
    starts["is_current"] = starts["valid_to"].isna()
    names = ["userId", "firstName", "lastName", "gender"]
    named = users[users["firstName"].notna() | users["lastName"].notna()]
    named = named.drop_duplicates("userId", keep="last")[names]
    whole = starts.drop(columns=names[1:]).merge(named, how="left", on="userId")
    order = ["user_key", *names, "level", "start_time", "valid_to", "is_current"]
    insert(cursor, "users", whole[order])
    return starts[["userId", "user_key", "level", "ts"]]


def songplays(cursor, events: pd.DataFrame, versions: pd.DataFrame) -> None:
    """Fill `songplays`, asking for the song of each play."""
    plays = events[events["page"] == "NextSong"].drop_duplicates(EVENT).drop(columns="level")
    plays = pd.merge_asof(plays.sort_values("ts"), versions.sort_values("ts"), on="ts", by="userId")
    found = []
    exact = plays["exact_length"].astype(object).where(plays["exact_length"].notna(), None)
    for play in zip(plays["song"], plays["artist"], exact, strict=True):
        cursor.execute(FIND_SONG, play)
        found.append(cursor.fetchone() or (None, None))
    plays["song_id"], plays["artist_id"] = zip(*found, strict=True)
    plays["hour"] = plays["start_time"].dt.strftime("%Y%m%d%H").astype(int)
    plays["key"] = plays[EVENT].astype(str).agg("|".join, axis=1)
    order = ["key", "hour", "start_time", "user_key", "level", "song_id", "artist_id", "sessionId"]
    order += ["itemInSession", "song", "artist", "location", "userAgent"]
    insert(cursor, "songplays", plays[order])


def build(connection, data: str) -> None:
    """Build the star."""
    with connection, connection.cursor() as cursor:
        cursor.execute(TABLES)
        songs_and_artists(cursor, data)
        events = events_from(data)
        hours(cursor, events)
        songplays(cursor, events, versions_of_users(cursor, events))


if __name__ == "__main__":
    data, _ = sys.argv[1:]
    with connected() as connection:
        began = time.perf_counter()
        build(connection, data)
        took = time.perf_counter() - began
        with connection.cursor() as cursor:
            cursor.execute(COUNTS)
            tell(took, cursor.fetchone())
