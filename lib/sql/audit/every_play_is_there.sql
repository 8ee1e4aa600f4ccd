-- Star: every NextSong event of this batch is a play, with a user version when it has a user.
with events as {{ engine.held_ready() }} (
    select start_time, session_id, item_in_session, user_id, {{ trimmed("song") }} as song
    from staging_events
    where
        batch_id >= :first_batch
        and page = 'NextSong'
        and {{ in_time_of_load("start_time") }}
),

plays as (
    select played_at, session_id, item_in_session, song_title, user_key
    from songplays
    where {{ in_time_of_load("played_at") }}
)

select events.start_time, events.session_id, events.item_in_session, events.user_id, events.song
from events
left join plays
    on events.start_time = plays.played_at
    and events.session_id = plays.session_id
    and events.item_in_session = plays.item_in_session
    and coalesce(events.song, '') = coalesce(plays.song_title, '')
where
    plays.played_at is null
    or (events.user_id <> '' and plays.user_key is null)
