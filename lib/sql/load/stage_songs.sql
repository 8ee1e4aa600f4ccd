-- The new files' songs, as they are.
insert into staging_songs
select
    artist_id,
    artist_latitude,
    artist_location,
    artist_longitude,
    artist_name,
    duration,
    num_songs,
    song_id,
    title,
    year,
    cast(:batch_id as bigint) as batch_id
from {{ engine.records("songs", fields) }}
