-- The most played artists, matched or not, over plays of :level ('' for all), of those with at least :least listeners.
-- `left_out`: how many artists have fewer.
{{ most_played(["artist_name"], "artist_id") }}
