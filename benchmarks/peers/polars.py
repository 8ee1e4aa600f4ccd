"""Polars: lazy frames on the streaming engine, the star as Parquet. The rules are the models'."""

import io
import re

import polars as pl
from polars import col

from benchmarks import peers

TYPES = dict(zip(peers.TYPES, (pl.String, pl.Int64, pl.Int32, pl.Float64), strict=True))
ORDER = ["ts", "session_id", "item_in_session"]
SONG = ["song_title", "artist_name", "length"]


def trim(name: str) -> pl.Expr:
    """Return a text without the spaces around it."""
    return col(name).str.strip_chars(" ")


def stage_events(data: str) -> pl.LazyFrame:
    """Read the events, one a row."""
    schema = {name: TYPES[kind] for name, kind in peers.EVENTS.items()}
    events = pl.scan_ndjson(f"{data}/log_data/**/*.json", schema=schema)
    events = events.rename(lambda name: re.sub("([A-Z])", r"_\1", name).lower())
    song = {"song_title": trim("song"), "artist_name": trim("artist")}
    user = trim("user_id").fill_null("")
    events = events.with_columns(col("length").fill_null(-1), user, **song)
    unused = ("song", "artist", "auth", "method", "status", "registration")
    return events.drop(unused).collect(engine="streaming").lazy()


def stage_songs(data: str) -> pl.LazyFrame:
    """Read the song records, one a row."""
    lines = io.BytesIO("\n".join(peers.read_songs(data)).encode())
    schema = {name: TYPES[kind] for name, kind in peers.SONGS.items()}
    located = col("artist_latitude").is_not_null() & col("artist_longitude").is_not_null()
    records = pl.read_ndjson(lines, schema=schema).lazy()
    records = records.with_columns(trim("title"), trim("artist_name"), col("year").replace(0, None))
    return records.with_columns(
        location=trim("artist_location").replace("", None),
        latitude=pl.when(located).then("artist_latitude"),
        longitude=pl.when(located).then("artist_longitude"),
    )


def select_songs(records: pl.LazyFrame) -> pl.LazyFrame:
    """Return one row a song."""
    columns = ["title", "artist_name", "artist_id", "year", "duration"]
    songs = records.select("song_id", *columns).sort(col("year").is_null(), *columns)
    return songs.unique("song_id", keep="first", maintain_order=True)


def select_artists(records: pl.LazyFrame) -> pl.LazyFrame:
    """Return one row an artist."""
    spelling = ["artist_name", "location", "latitude", "longitude"]
    artists = records.group_by("artist_id", *spelling).agg(songs=pl.len().cast(pl.Int64))
    order = [col("latitude").is_null(), col("location").is_null(), -col("songs"), *spelling]
    return artists.sort(order).unique("artist_id", keep="first", maintain_order=True).drop("songs")


def select_time(events: pl.LazyFrame) -> pl.LazyFrame:
    """Return one row an hour that has an event."""
    start = col("start_time").dt
    parts = {"hour": start.hour(), "day": start.day(), "week": start.week()}
    parts |= {"month": start.month(), "year": start.year(), "weekday": start.weekday()}
    hours = pl.from_epoch("ts", "ms").dt.truncate("1h")
    return events.select(start_time=hours).unique().with_columns(**parts)


def select_users(events: pl.LazyFrame) -> pl.LazyFrame:
    """Return one row a version of a user."""
    users = events.filter(col("user_id") != "")
    changed = col("level").ne_missing(col("level").shift().over("user_id"))
    changes = users.select("user_id", *ORDER, "level").sort("user_id", *ORDER, "level")
    changes = changes.filter(changed).unique(["user_id", "ts"], keep="last", maintain_order=True)
    until = col("ts").shift(-1).over("user_id")
    period = {"valid_from": pl.from_epoch("ts", "ms"), "valid_to": pl.from_epoch(until, "ms")}
    versions = changes.filter(changed).with_row_index("user_key").drop(ORDER[1:])
    versions = versions.with_columns(**period, is_current=until.is_null())
    named = users.filter(col("first_name").is_not_null() | col("last_name").is_not_null())
    latest = col("first_name", "last_name", "gender").sort_by(*ORDER).last()
    return versions.join(named.group_by("user_id").agg(latest), on="user_id", how="left")


def select_songplays(events: pl.LazyFrame, users: pl.LazyFrame, songs: pl.LazyFrame):
    """Return one row a play, with the user's version in force and the song nearest in duration."""
    columns = [*ORDER, "user_id", *SONG, "location", "user_agent"]
    plays = events.filter(col("page") == "NextSong").select(columns).unique()
    matches = songs.rename({"title": "song_title"}).join(plays.select(SONG).unique(), on=SONG[:2])
    distance = (col("duration") - col("length")).abs()
    matches = matches.sort(distance, "song_id", nulls_last=True)
    matches = matches.unique(SONG, keep="first", maintain_order=True)
    matches = matches.select(*SONG, "song_id", "artist_id")
    versions = users.select("user_id", "user_key", "level", "ts").sort("ts")
    plays = plays.sort("ts").join_asof(versions, on="ts", by="user_id", check_sortedness=False)
    plays = plays.join(matches, on=SONG, how="left")
    at = pl.from_epoch("ts", "ms")
    plays = plays.with_columns(start_time=at.dt.truncate("1h"), played_at=at)
    return plays.drop("ts", "user_id", "length")


def build(data: str, folder: str) -> str:
    """Write the five tables as Parquet."""
    records, events = stage_songs(data), stage_events(data)
    songs, users = select_songs(records).collect().lazy(), select_users(events).collect().lazy()
    star = {"songs": songs, "artists": select_artists(records), "time": select_time(events)}
    star |= {"users": users.drop("ts"), "songplays": select_songplays(events, users, songs)}
    for table, frame in star.items():
        frame.sink_parquet(f"{folder}/{table}.parquet", engine="streaming")
    return folder
