model (name star.artists, kind full);

-- Grain: one artist; of several spellings, the one with coordinates, then with a location, then on
-- most songs, then the first by name.
select
    artist_id,
    artist_name as name,
    artist_location as location,
    artist_latitude as latitude,
    artist_longitude as longitude
from star.staging_songs
group by artist_id, artist_name, artist_location, artist_latitude, artist_longitude
qualify row_number() over (
    partition by artist_id
    order by latitude is null, location is null, count(*) desc, name, location, latitude, longitude
) = 1
