-- Grain: one object of a song file.
select
    song_id,
    trim(both ' ' from title) as title,
    artist_id,
    trim(both ' ' from artist_name) as artist_name,
    nullif(trim(both ' ' from artist_location), '') as artist_location,
    case when artist_longitude is not null then artist_latitude end as artist_latitude,
    case when artist_latitude is not null then artist_longitude end as artist_longitude,
    nullif(year, 0) as year,
    duration
from read_json(
    '{{ var("songs") }}',
    format = 'newline_delimited',
    columns = {
        'song_id': 'varchar',
        'title': 'varchar',
        'artist_id': 'varchar',
        'artist_name': 'varchar',
        'artist_location': 'varchar',
        'artist_latitude': 'double',
        'artist_longitude': 'double',
        'year': 'integer',
        'duration': 'double'
    }
)
