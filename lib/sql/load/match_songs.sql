-- For each title, artist and length that this load plays: the song of that title by that artist,
-- nearest in duration, then with the smallest id. A title alone never matches.
{% set new_songs_later = new_songs and not all %}
{% if new_songs_later %}
-- And the same for earlier plays of what this load's songs are or were called.
drop table if exists concerned_titles;

create temporary table concerned_titles as
select distinct {{ trimmed("title") }} as title, {{ trimmed("artist_name") }} as artist_name
from staging_songs
where song_id in (select song_id from staging_songs where batch_id >= :first_batch);

{% endif %}
drop table if exists matches;

create temporary table matches as
with plays as (
    select distinct song, artist, length
    from staging_events
    where page = 'NextSong' and batch_id >= :first_batch
    {% if new_songs_later %}
    union
    select staging_events.song, staging_events.artist, staging_events.length
    from staging_events
    inner join concerned_titles
        on {{ trimmed("staging_events.song") }} = concerned_titles.title
        and {{ trimmed("staging_events.artist") }} = concerned_titles.artist_name
    where staging_events.page = 'NextSong' and staging_events.batch_id < :first_batch
    {% endif %}
),

named as (
    select
        {{ trimmed("song") }} as song_title,
        {{ trimmed("artist") }} as artist_name,
        {{ exact_length("length") }} as length,
        {{ length_key("length") }} as length_key
    from plays
),

candidates as (
    select distinct
        named.song_title,
        named.artist_name,
        named.length_key,
        song_catalogue.song_id,
        song_catalogue.artist_id,
        coalesce(
            abs({{ exact_length("song_catalogue.duration") }} - named.length),
            1000000000000000
        ) as distance
    from named
    inner join song_catalogue
        on named.song_title = song_catalogue.title
        and named.artist_name = song_catalogue.artist_name
),

ranked as (
    select
        candidates.*,
        row_number() over (
            partition by song_title, artist_name, length_key
            order by distance, song_id
        ) as position
    from candidates
)

select song_title, artist_name, length_key, song_id, artist_id
from ranked
where position = 1
