-- Every NextSong event of this batch, with the user's version in force and the matched song.
insert into songplays
with plays as (
    select
        {{ songplay_key() }} as songplay_key,
        start_time as played_at,
        user_id,
        session_id,
        item_in_session,
        {{ length_key("length") }} as length_key,
        {{ trimmed("song") }} as song_title,
        {{ trimmed("artist") }} as artist_name,
        location,
        user_agent
    from staging_events
    where batch_id >= :first_batch and page = 'NextSong'
)

select
    plays.songplay_key,
    {{ hour_key("plays.played_at") }} as start_time,
    plays.played_at,
    users.user_key,
    users.level,
    matches.song_id,
    matches.artist_id,
    plays.session_id,
    plays.item_in_session,
    plays.song_title,
    plays.artist_name,
    plays.location,
    plays.user_agent
from plays
left join users
    on plays.user_id = users.user_id
    and {{ in_force("users", "plays.played_at") }}
left join matches
    on plays.song_title = matches.song_title
    and plays.artist_name = matches.artist_name
    and plays.length_key = matches.length_key
