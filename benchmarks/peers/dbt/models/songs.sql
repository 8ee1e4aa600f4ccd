-- Grain: one song; of several records, one with a known year, then the first by text.
-- `artist_name` is the artist's as this record has it, which plays are matched by.
select song_id, title, artist_id, year, duration, artist_name
from {{ ref("staging_songs") }}
qualify row_number() over (
    partition by song_id
    order by year is null, title, artist_name, artist_id, year, duration
) = 1
