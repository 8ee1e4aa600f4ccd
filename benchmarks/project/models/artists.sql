-- Grain: one artist; of several spellings, the one with coordinates, then with a location, then on
-- most songs, then the first by name.
select distinct on (artist_id) artist_id, artist_name as name, location, latitude, longitude
from {{ ref("staging_songs") }}
group by artist_id, artist_name, location, latitude, longitude
order by
    artist_id, latitude is null, location is null, count(*) desc, artist_name, location,
    latitude, longitude
