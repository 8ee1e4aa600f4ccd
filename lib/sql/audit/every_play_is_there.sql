-- Star: every NextSong event of this batch is a play, with a user version when it has a user.
with plays as (
    select
        start_time,
        session_id,
        item_in_session,
        user_id,
        coalesce({{ trimmed("song") }}, '') as song_title,
        coalesce({{ trimmed("artist") }}, '') as artist_name
    from staging_events
    where batch_id >= :first_batch and page = 'NextSong'
)

select plays.start_time, plays.session_id, plays.item_in_session, plays.user_id
from plays
left join songplays
    on plays.start_time = songplays.played_at
    and plays.session_id = songplays.session_id
    and plays.item_in_session = songplays.item_in_session
    and plays.song_title = coalesce(songplays.song_title, '')
    and plays.artist_name = coalesce(songplays.artist_name, '')
where
    songplays.songplay_key is null
    or (plays.user_id <> '' and songplays.user_key is null)
