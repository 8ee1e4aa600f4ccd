-- Grain: one record of a song file. Coordinates are known in pairs or not at all.
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
from {{ var("songs") }}
