-- The most played songs, matched or not, over plays of :level ('' for all), of those with at least :least listeners.
-- `left_out`: how many songs have fewer.
{{ most_played(["song_title", "artist_name"], "song_id") }}
