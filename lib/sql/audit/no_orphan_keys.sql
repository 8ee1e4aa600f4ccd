-- Star: every key of a play that this load may have changed is found in its dimension, and a
-- matched play's artist is its song's.
select
    plays.songplay_key,
    case
        when time.start_time is null then 'time'
        when plays.user_key is not null and users.user_key is null then 'users'
        when songs.song_id is null and (plays.song_id is not null or plays.artist_id is not null)
            then 'songs'
        else 'artists'
    end as missing_in
from {{ plays_of_load(all) }} as plays
left join time on plays.start_time = time.start_time
left join users on plays.user_key = users.user_key
left join songs on plays.song_id = songs.song_id and plays.artist_id = songs.artist_id
left join artists on plays.artist_id = artists.artist_id
where
    time.start_time is null
    or (plays.user_key is not null and users.user_key is null)
    or (songs.song_id is null and (plays.song_id is not null or plays.artist_id is not null))
    or (plays.artist_id is not null and artists.artist_id is null)
