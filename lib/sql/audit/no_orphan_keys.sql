-- Star: every key of a play that this load may have changed is found in its dimension, and a
-- matched play's artist is its song's.
with plays as (
    select songplay_key, start_time, user_key, song_id, artist_id
    from {{ plays_of_load(all) }} as of_load
)

select plays.songplay_key, 'time' as missing_in
from plays
left join time on plays.start_time = time.start_time
where time.start_time is null
union all
select plays.songplay_key, 'users'
from plays
left join users on plays.user_key = users.user_key
where plays.user_key is not null and users.user_key is null
union all
select plays.songplay_key, 'songs'
from plays
left join songs
    on plays.song_id = songs.song_id
    and plays.artist_id = songs.artist_id
where
    (plays.song_id is not null or plays.artist_id is not null)
    and songs.song_id is null
union all
select plays.songplay_key, 'artists'
from plays
left join artists on plays.artist_id = artists.artist_id
where plays.artist_id is not null and artists.artist_id is null
