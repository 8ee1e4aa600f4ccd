-- The most played artists, matched or not, with at least :least listeners, over plays of :level (''
-- for all levels). `left_out` counts the artists with fewer listeners.
{{ most_played(["artist_name"], "artist_id") }}
