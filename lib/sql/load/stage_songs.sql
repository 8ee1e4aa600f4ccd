-- The new files' songs, as they are.
insert into staging_songs
select
    artist_id,
    {{ engine.number("artist_latitude") }} as artist_latitude,
    artist_location,
    {{ engine.number("artist_longitude") }} as artist_longitude,
    artist_name,
    {{ engine.number("duration") }} as duration,
    {{ engine.whole("num_songs", "integer") }} as num_songs,
    song_id,
    title,
    {{ engine.whole("year", "integer") }} as year,
    cast(:batch_id as bigint) as batch_id
from {{ engine.records("songs", fields) }}
