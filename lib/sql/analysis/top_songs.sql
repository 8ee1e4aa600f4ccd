-- The most played songs, matched or not, with at least :least listeners, over plays of :level (''
-- for all levels). `left_out` counts the songs with fewer listeners.
{{ most_played(["song_title", "artist_name"], "song_id") }}
