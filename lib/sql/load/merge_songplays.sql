-- Every NextSong event of this batch, with the user's version in force and the matched song.
insert into songplays
with plays as {{ engine.held_ready() }} (
    select
        ts,
        start_time,
        user_id,
        session_id,
        item_in_session,
        length,
        {{ trimmed("song") }} as song,
        {{ trimmed("artist") }} as artist,
        location,
        user_agent
    from staging_events
    where
        batch_id >= :first_batch
        and page = 'NextSong'
        and {{ in_time_of_load("start_time") }}
)

select
    {{ songplay_key("plays", "plays.song", "plays.artist") }} as songplay_key,
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
    and {{ length_key("plays.length") }} = matches.length_key
