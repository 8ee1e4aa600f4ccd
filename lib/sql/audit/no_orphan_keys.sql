-- Star: every key of a play is found in its dimension, and a matched play's artist is its song's.
select songplays.songplay_key, 'time' as missing_in
from songplays
left join time on songplays.start_time = time.start_time
where time.start_time is null
union all
select songplays.songplay_key, 'users'
from songplays
left join users on songplays.user_key = users.user_key
where songplays.user_key is not null and users.user_key is null
union all
select songplays.songplay_key, 'songs'
from songplays
left join songs
    on songplays.song_id = songs.song_id
    and songplays.artist_id = songs.artist_id
where
    (songplays.song_id is not null or songplays.artist_id is not null)
    and songs.song_id is null
union all
select songplays.songplay_key, 'artists'
from songplays
left join artists on songplays.artist_id = artists.artist_id
where songplays.artist_id is not null and artists.artist_id is null
