-- Star: the keys of each play that this load may have changed lead to rows: of its hour, of the user
-- version in force when it was played, of its song, and of that song's artist.
select
    plays.played_at,
    plays.session_id,
    plays.item_in_session,
    case
        when time.start_time is null then 'time'
        when plays.user_key is not null and users.user_key is null then 'users'
        when songs.song_id is null and (plays.song_id is not null or plays.artist_id is not null)
            then 'songs'
        when plays.artist_id is not null and artists.artist_id is null then 'artists'
        else 'the version in force'
    end as missing,
    plays.level,
    users.valid_from,
    users.valid_to
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
    or plays.level <> users.level
    or plays.played_at < users.valid_from
    or plays.played_at >= users.valid_to
