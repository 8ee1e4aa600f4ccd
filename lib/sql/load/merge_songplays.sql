-- Every NextSong event of this load, with the user's version in force and the matched song.
insert into songplays
with plays as (
    select
        start_time,
        user_id,
        session_id,
        item_in_session,
        {{ length_key("length") }} as length_key,
        {{ trimmed("song") }} as song,
        {{ trimmed("artist") }} as artist,
        location,
        user_agent
    from staging_events
    where batch_id >= :first_batch and page = 'NextSong'
)

select
    {{ hour_key("plays.start_time") }} as start_time,
    plays.start_time as played_at,
    users.user_key,
    users.level,
    matches.song_id,
    matches.artist_id,
    plays.session_id,
    plays.item_in_session,
    plays.song as song_title,
    plays.artist as artist_name,
    plays.location,
    plays.user_agent
from plays
left join users
    on plays.user_id = users.user_id
    and {{ in_force("users", "plays.start_time") }}
left join matches
    on plays.song = matches.song_title
    and plays.artist = matches.artist_name
    and plays.length_key = matches.length_key
