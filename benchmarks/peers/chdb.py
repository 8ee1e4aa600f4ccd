"""chDB: ClickHouse in the process, the star as MergeTree tables."""

import sys
import time

from chdb import session

from benchmarks.peers import COUNTS, songs_in_one_file, tell

EVENTS = """
create table events engine = Memory as
select
    trim(both ' ' from artist) as artist_name,
    trim(both ' ' from song) as song_title,
    toInt64(floor(length * 1e5 + 0.5)) as exact_length,
    ts,
    page,
    level,
    ifNull(trim(both ' ' from userId), '') as user_id,
    firstName as first_name,
    lastName as last_name,
    gender,
    sessionId as session_id,
    itemInSession as item_in_session,
    location,
    userAgent as user_agent
from file(
    '{data}/log_data/**/*.json',
    JSONEachRow,
    'artist Nullable(String), song Nullable(String), length Nullable(Float64), ts Int64,
     page LowCardinality(String), level LowCardinality(String), userId Nullable(String),
     firstName Nullable(String), lastName Nullable(String), gender Nullable(String),
     sessionId Int64, itemInSession Int32, location Nullable(String), userAgent Nullable(String)'
)
"""
RECORDS = """
create table records engine = Memory as
select
    song_id,
    trim(both ' ' from title) as title,
    artist_id,
    trim(both ' ' from artist_name) as artist_name,
    nullIf(trim(both ' ' from artist_location), '') as artist_location,
    if(artist_longitude is null, null, artist_latitude) as latitude,
    if(artist_latitude is null, null, artist_longitude) as longitude,
    nullIf(year, 0) as year,
    duration
from file(
    '{songs}',
    JSONEachRow,
    'song_id String, title String, artist_id String, artist_name String,
     artist_location Nullable(String), artist_latitude Nullable(Float64),
     artist_longitude Nullable(Float64), year Nullable(Int32), duration Nullable(Float64)'
)
"""
SONGS = """
create table songs engine = MergeTree order by song_id as
select song_id, title, artist_id, year, duration, artist_name
from records
order by year is null, title, artist_name, artist_id, year, duration
limit 1 by song_id
"""
ARTISTS = """
create table artists engine = MergeTree order by artist_id as
select artist_id, artist_name as name, artist_location as location, latitude, longitude
from records
group by artist_id, name, location, latitude, longitude
order by latitude is null, location is null, count() desc, name, location, latitude, longitude
limit 1 by artist_id
"""
TIME = """
create table time engine = MergeTree order by start_time as
select
    toInt32(formatDateTime(began, '%Y%m%d%H')) as start_time,
    toHour(began) as hour,
    toDayOfMonth(began) as day,
    toISOWeek(began) as week,
    toMonth(began) as month,
    toYear(began) as year,
    toDayOfWeek(began) as weekday
from (select distinct toDateTime(intDiv(ts, 3600000) * 3600, 'UTC') as began from events)
"""
# A version starts where the level differs from the one before; several events in one millisecond
# count as the last of them.
USERS = """
create table users engine = MergeTree order by (user_id, valid_from) as
with changes as (
    select user_id, ts, session_id, item_in_session, level
    from (
        select
            *,
            lagInFrame(level, 1, '') over (
                partition by user_id order by ts, session_id, item_in_session, level
                rows between 1 preceding and current row
            ) as level_before
        from (
            select user_id, ts, session_id, item_in_session, toString(level) as level
            from events where user_id <> ''
        )
    )
    where level <> level_before
),
moments as (
    select user_id, ts, level
    from changes
    order by session_id desc, item_in_session desc, level desc
    limit 1 by user_id, ts
),
starts as (
    select user_id, ts, level
    from (
        select
            *,
            lagInFrame(level, 1, '') over (
                partition by user_id order by ts rows between 1 preceding and current row
            ) as level_before
        from moments
    )
    where level <> level_before
),
named as (
    select
        user_id,
        argMax((first_name, last_name, gender), (ts, session_id, item_in_session)) as latest
    from events
    where user_id <> '' and (first_name is not null or last_name is not null)
    group by user_id
)
select
    lower(hex(MD5(concatWithSeparator('|', user_id, toString(ts), level)))) as user_key,
    user_id,
    latest.1 as first_name,
    latest.2 as last_name,
    latest.3 as gender,
    level,
    fromUnixTimestamp64Milli(ts, 'UTC') as valid_from,
    if(until = 0, null, fromUnixTimestamp64Milli(until, 'UTC')) as valid_to,
    until = 0 as is_current
from (
    select
        *,
        leadInFrame(ts, 1, 0) over (
            partition by user_id order by ts
            rows between current row and 1 following
        ) as until
    from starts
) as versions
left join named on versions.user_id = named.user_id
"""
SONGPLAYS = """
create table songplays engine = MergeTree order by played_at as
with plays as (
    select distinct
        ts,
        fromUnixTimestamp64Milli(ts, 'UTC') as played_at,
        user_id,
        session_id,
        item_in_session,
        exact_length,
        song_title,
        artist_name,
        location,
        user_agent
    from events
    where page = 'NextSong'
),
matches as (
    select
        played.song_title as song_title,
        played.artist_name as artist_name,
        played.length as length,
        argMin(
            (songs.song_id, songs.artist_id),
            (abs(ifNull(floor(duration * 1e5 + 0.5), 1e15) - played.length), song_id)
        ) as song
    from (
        select distinct song_title, artist_name, ifNull(exact_length, -1) as length
        from events
        where page = 'NextSong'
    ) as played
    inner join songs
        on played.song_title = songs.title and played.artist_name = songs.artist_name
    group by song_title, artist_name, length
)
select
    lower(hex(MD5(concatWithSeparator(
        '|',
        toString(plays.ts),
        toString(plays.session_id),
        toString(plays.item_in_session),
        toString(ifNull(plays.exact_length, -1)),
        plays.user_id,
        ifNull(plays.song_title, ''),
        ifNull(plays.artist_name, ''),
        ifNull(plays.location, ''),
        ifNull(plays.user_agent, '')
    )))) as songplay_key,
    toYYYYMMDD(plays.played_at) * 100 + toHour(plays.played_at) as start_time,
    plays.played_at as played_at,
    nullIf(users.user_key, '') as user_key,
    nullIf(users.level, '') as level,
    nullIf(matches.song.1, '') as song_id,
    nullIf(matches.song.2, '') as artist_id,
    plays.session_id as session_id,
    plays.item_in_session as item_in_session,
    plays.song_title as song_title,
    plays.artist_name as artist_name,
    plays.location as location,
    plays.user_agent as user_agent
from plays
asof left join users
    on plays.user_id = users.user_id and plays.played_at >= users.valid_from
left join matches
    on plays.song_title = matches.song_title
    and plays.artist_name = matches.artist_name
    and ifNull(plays.exact_length, -1) = matches.length
"""
TABLES = (EVENTS, RECORDS, SONGS, ARTISTS, TIME, USERS, SONGPLAYS)


def build(data: str, folder: str) -> session.Session:
    """Build the star in a new database."""
    songs = songs_in_one_file(data, folder)
    opened = session.Session(f"{folder}/star")
    opened.query("create database star engine = Atomic")
    opened.query("use star")
    for table in TABLES:
        opened.query(table.format(data=data, songs=songs))
    return opened


if __name__ == "__main__":
    data, folder = sys.argv[1:]
    began = time.perf_counter()
    opened = build(data, folder)
    took = time.perf_counter() - began
    text = str(opened.query(COUNTS, "CSV"))
    tell(took, tuple(int(number) for number in text.strip().split(",")))
    opened.close()
