-- Grain: one song; of several records, one with a known year, then the first by text.
-- Plays are matched by `artist_name`, the artist's name in this record.
select distinct on (song_id) song_id, title, artist_id, year, duration, artist_name
from {{ ref("staging_songs") }}
order by song_id, year is null, title, artist_name, artist_id, year, duration
