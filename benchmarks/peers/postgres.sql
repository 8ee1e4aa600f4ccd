-- The star in PostgreSQL, from `raw_events` and `raw_songs`, one JSON object a row.
create unlogged table events as
select
    trim(both ' ' from artist) as artist_name,
    trim(both ' ' from song) as song_title,
    cast(floor(length * 1e5 + 0.5) as bigint) as exact_length,
    ts,
    timestamp 'epoch' + ts * interval '1 millisecond' as start_time,
    page,
    level,
    coalesce(trim(both ' ' from "userId"), '') as user_id,
    "firstName" as first_name,
    "lastName" as last_name,
    gender,
    "sessionId" as session_id,
    "itemInSession" as item_in_session,
    location,
    "userAgent" as user_agent
from
    raw_events,
    json_to_record(cast(line as json)) as event(
        artist text,
        song text,
        length double precision,
        ts bigint,
        page text,
        level text,
        "userId" text,
        "firstName" text,
        "lastName" text,
        gender text,
        "sessionId" bigint,
        "itemInSession" integer,
        location text,
        "userAgent" text
    );

create unlogged table records as
select
    song_id,
    trim(both ' ' from title) as title,
    artist_id,
    trim(both ' ' from artist_name) as artist_name,
    nullif(trim(both ' ' from artist_location), '') as location,
    case when artist_longitude is not null then artist_latitude end as latitude,
    case when artist_latitude is not null then artist_longitude end as longitude,
    nullif(year, 0) as year,
    duration
from
    raw_songs,
    json_to_record(cast(line as json)) as song(
        song_id text,
        title text,
        artist_id text,
        artist_name text,
        artist_location text,
        artist_latitude double precision,
        artist_longitude double precision,
        year integer,
        duration double precision
    );

analyze events;

create table songs as
select distinct on (song_id) song_id, title, artist_id, year, duration, artist_name
from records
order by song_id, year is null, title, artist_name, artist_id, year, duration;

create table artists as
select distinct on (artist_id) artist_id, artist_name as name, location, latitude, longitude
from records
group by artist_id, artist_name, location, latitude, longitude
order by
    artist_id,
    latitude is null,
    location is null,
    count(*) desc,
    artist_name,
    location,
    latitude,
    longitude;

create table time as
with hours as (
    select distinct date_trunc('hour', start_time) as began from events
)

select
    cast(to_char(began, 'YYYYMMDDHH24') as integer) as start_time,
    cast(extract(hour from began) as integer) as hour,
    cast(extract(day from began) as integer) as day,
    cast(extract(week from began) as integer) as week,
    cast(extract(month from began) as integer) as month,
    cast(extract(year from began) as integer) as year,
    cast(extract(isodow from began) as integer) as weekday
from hours;

-- A version starts where the level differs from the one before; several events in one millisecond
-- count as the last of them.
create table users as
with ordered as (
    select
        user_id,
        ts,
        start_time,
        session_id,
        item_in_session,
        level,
        lag(level) over (
            partition by user_id
            order by ts, session_id, item_in_session, level
        ) as level_before
    from events
    where user_id <> ''
),

moments as (
    select distinct on (user_id, ts) user_id, ts, start_time, level
    from ordered
    where level is distinct from level_before
    order by user_id, ts, session_id desc, item_in_session desc, level desc
),

starts as (
    select *, lag(level) over (partition by user_id order by ts) as level_before
    from moments
),

versions as (
    select *, lead(start_time) over (partition by user_id order by ts) as valid_to
    from starts
    where level is distinct from level_before
),

named as (
    select distinct on (user_id) user_id, first_name, last_name, gender
    from events
    where user_id <> '' and (first_name is not null or last_name is not null)
    order by user_id, ts desc, session_id desc, item_in_session desc
)

select
    md5(concat_ws('|', versions.user_id, ts, level)) as user_key,
    versions.user_id,
    named.first_name,
    named.last_name,
    named.gender,
    level,
    start_time as valid_from,
    valid_to,
    valid_to is null as is_current
from versions
left join named on versions.user_id = named.user_id;

analyze users;

create temporary table matches as
with played as (
    select distinct song_title, artist_name, exact_length
    from events
    where page = 'NextSong'
)

select distinct on (played.song_title, played.artist_name, played.exact_length)
    played.song_title,
    played.artist_name,
    coalesce(played.exact_length, -1) as length_key,
    songs.song_id,
    songs.artist_id
from played
inner join songs
    on played.song_title = songs.title
    and played.artist_name = songs.artist_name
order by
    played.song_title,
    played.artist_name,
    played.exact_length,
    abs(floor(songs.duration * 1e5 + 0.5) - played.exact_length),
    songs.song_id;

analyze matches;

create table songplays as
with plays as (
    select distinct
        ts,
        start_time as played_at,
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
)

select
    md5(concat_ws(
        '|',
        plays.ts,
        plays.session_id,
        plays.item_in_session,
        coalesce(plays.exact_length, -1),
        plays.user_id,
        coalesce(plays.song_title, ''),
        coalesce(plays.artist_name, ''),
        coalesce(plays.location, ''),
        coalesce(plays.user_agent, '')
    )) as songplay_key,
    cast(to_char(plays.played_at, 'YYYYMMDDHH24') as integer) as start_time,
    plays.played_at,
    users.user_key,
    users.level,
    matches.song_id,
    matches.artist_id,
    plays.session_id,
    plays.item_in_session,
    plays.song_title,
    plays.artist_name,
    plays.location,
    plays.user_agent
from plays
left join users
    on plays.user_id = users.user_id
    and plays.played_at >= users.valid_from
    and plays.played_at < coalesce(users.valid_to, 'infinity')
left join matches
    on plays.song_title = matches.song_title
    and plays.artist_name = matches.artist_name
    and coalesce(plays.exact_length, -1) = matches.length_key;
