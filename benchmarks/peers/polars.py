"""Polars: lazy frames on the streaming engine, the star as Parquet."""

import io
import sys
import time
from collections.abc import Iterable

import polars as pl
from polars import col

from benchmarks.peers import events_of, songs_of, tell

EVENTS = {
    "artist": pl.String,
    "song": pl.String,
    "length": pl.Float64,
    "ts": pl.Int64,
    "page": pl.String,
    "level": pl.String,
    "userId": pl.String,
    "firstName": pl.String,
    "lastName": pl.String,
    "gender": pl.String,
    "sessionId": pl.Int64,
    "itemInSession": pl.Int32,
    "location": pl.String,
    "userAgent": pl.String,
}
SONGS = {
    "song_id": pl.String,
    "title": pl.String,
    "artist_id": pl.String,
    "artist_name": pl.String,
    "artist_location": pl.String,
    "artist_latitude": pl.Float64,
    "artist_longitude": pl.Float64,
    "year": pl.Int32,
    "duration": pl.Float64,
}
NAMES = {"userId": "user_id", "firstName": "first_name", "lastName": "last_name"} | {
    "sessionId": "session_id",
    "itemInSession": "item_in_session",
    "userAgent": "user_agent",
}
ORDER = ["ts", "session_id", "item_in_session", "level"]


def trimmed(name: str) -> pl.Expr:
    """Return a text without the spaces around it."""
    return col(name).str.strip_chars(" ")


def hundredths(name: str) -> pl.Expr:
    """Return seconds as a whole number of hundredths of a millisecond."""
    return (col(name) * 1e5 + 0.5).floor().cast(pl.Int64)


def staged_events(data: str) -> pl.DataFrame:
    """Return the events, one a row."""
    return (
        pl.scan_ndjson(events_of(data), schema=EVENTS)
        .rename(NAMES)
        .with_columns(
            artist_name=trimmed("artist"),
            song_title=trimmed("song"),
            exact_length=hundredths("length"),
            user_id=trimmed("user_id").fill_null(""),
        )
        .drop("artist", "song", "length")
        .collect(engine="streaming")
    )


def staged_songs(lines: Iterable[str]) -> pl.LazyFrame:
    """Return the song records, one a row."""
    text = io.BytesIO("\n".join(lines).encode())
    known = col("artist_latitude").is_not_null() & col("artist_longitude").is_not_null()
    return (
        pl.read_ndjson(text, schema=SONGS)
        .lazy()
        .with_columns(
            title=trimmed("title"),
            artist_name=trimmed("artist_name"),
            artist_location=trimmed("artist_location").replace("", None),
            artist_latitude=pl.when(known).then("artist_latitude"),
            artist_longitude=pl.when(known).then("artist_longitude"),
            year=col("year").replace(0, None),
        )
    )


def songs_from(records: pl.LazyFrame) -> pl.LazyFrame:
    """Return one row a song, with its artist's name as it is there."""
    order = ["year_unknown", "title", "artist_name", "artist_id", "year", "duration"]
    return (
        records.with_columns(year_unknown=col("year").is_null())
        .sort(order)
        .unique("song_id", keep="first", maintain_order=True)
        .select("song_id", "title", "artist_id", "year", "duration", "artist_name")
    )


def artists_from(records: pl.LazyFrame) -> pl.LazyFrame:
    """Return one row an artist: with coordinates, with a location, on most songs, by name."""
    spelled = [name for name in SONGS if name.startswith("artist")]
    order = [col("artist_latitude").is_null(), col("artist_location").is_null(), -col("songs")]
    rest = ["artist_name", "artist_location", "artist_latitude", "artist_longitude"]
    return (
        records.group_by(spelled)
        .agg(songs=pl.len().cast(pl.Int64))
        .sort([*order, *rest])
        .unique("artist_id", keep="first", maintain_order=True)
        .drop("songs")
    )


def time_from(events: pl.LazyFrame) -> pl.LazyFrame:
    """Return one row an hour that has an event."""
    began = pl.from_epoch("hour", "s")
    return (
        events.select(hour=col("ts").floordiv(3_600_000) * 3600)
        .unique()
        .select(
            start_time=began.dt.strftime("%Y%m%d%H").cast(pl.Int32),
            hour=began.dt.hour(),
            day=began.dt.day(),
            week=began.dt.week(),
            month=began.dt.month(),
            year=began.dt.year(),
            weekday=began.dt.weekday(),
        )
    )


def users_from(events: pl.LazyFrame) -> pl.LazyFrame:
    """Return one row a version of a user: it starts where the level is another one than before."""
    logged_in = events.filter(col("user_id") != "")
    changed = col("level").ne_missing(col("level").shift().over("user_id"))
    starts = (
        logged_in.select("user_id", *ORDER)
        .sort("user_id", *ORDER)
        .filter(changed)
        .unique(["user_id", "ts"], keep="last", maintain_order=True)
        .filter(changed)
    )
    names = col("first_name", "last_name", "gender")
    named = (
        logged_in.filter(col("first_name").is_not_null() | col("last_name").is_not_null())
        .group_by("user_id")
        .agg(names.sort_by(*ORDER[:3]).last())
    )
    until = col("ts").shift(-1).over("user_id")
    return (
        starts.join(named, on="user_id", how="left")
        .with_columns(valid_to=pl.from_epoch(until, "ms"), is_current=until.is_null())
        .select(
            pl.struct("user_id", "ts", "level").hash().alias("user_key"),
            *("user_id", "first_name", "last_name", "gender", "level"),
            pl.from_epoch("ts", "ms").alias("valid_from"),
            *("valid_to", "is_current", "ts"),
        )
    )


def songplays_from(events: pl.LazyFrame, users: pl.LazyFrame, songs: pl.LazyFrame) -> pl.LazyFrame:
    """Return one row a play, with the user's version in force and the song nearest in duration."""
    event = ["ts", "user_id", "session_id", "item_in_session", "exact_length", "song_title"]
    event += ["artist_name", "location", "user_agent"]
    plays = events.filter(col("page") == "NextSong").select(event).unique()
    song = ["song_title", "artist_name", "exact_length"]
    matches = (
        plays.select(song)
        .unique()
        .join(songs, left_on=song[:2], right_on=["title", "artist_name"])
        .sort((hundredths("duration") - col("exact_length")).abs(), "song_id", nulls_last=True)
        .unique(song, keep="first", maintain_order=True)
        .select(*song, "song_id", "artist_id")
    )
    versions = users.select("user_id", "user_key", "level", "ts").sort("ts")
    played_at = pl.from_epoch("ts", "ms")
    return (
        plays.sort("ts")
        .join_asof(versions, on="ts", by="user_id", strategy="backward", check_sortedness=False)
        .join(matches, on=song, how="left", nulls_equal=True)
        .select(
            pl.struct(event).hash().alias("songplay_key"),
            (
                played_at.dt.year() * 1_000_000
                + played_at.dt.month().cast(pl.Int32) * 10_000
                + played_at.dt.day().cast(pl.Int32) * 100
                + played_at.dt.hour()
            ).alias("start_time"),
            played_at.alias("played_at"),
            *("user_key", "level", "song_id", "artist_id", "session_id", "item_in_session"),
            *("song_title", "artist_name", "location", "user_agent"),
        )
    )


def build(data: str, folder: str) -> None:
    """Write the five tables as Parquet."""
    records = staged_songs(songs_of(data)).collect().lazy()
    events = staged_events(data).lazy()
    songs, users = (frame.collect().lazy() for frame in (songs_from(records), users_from(events)))
    star = {"songs": songs.drop("artist_name"), "artists": artists_from(records)}
    star |= {"time": time_from(events), "users": users.drop("ts")}
    star["songplays"] = songplays_from(events, users, songs)
    for name, frame in star.items():
        frame.sink_parquet(f"{folder}/{name}.parquet", engine="streaming")


def counts(folder: str) -> tuple:
    """Count what was written."""
    star = {n: pl.scan_parquet(f"{folder}/{n}.parquet") for n in ("songplays", "users", "songs")}
    star |= {name: pl.scan_parquet(f"{folder}/{name}.parquet") for name in ("artists", "time")}
    plays = star["songplays"].select(
        pl.len(), col("song_id").count().alias("matched"), (col("level") == "paid").sum()
    )
    others = [star[n].select(pl.len()).collect().item() for n in ("users", "songs")]
    others += [star[name].select(pl.len()).collect().item() for name in ("artists", "time")]
    return (*plays.collect().row(0), *others)


if __name__ == "__main__":
    data, folder = sys.argv[1:]
    began = time.perf_counter()
    build(data, folder)
    tell(time.perf_counter() - began, counts(folder))
