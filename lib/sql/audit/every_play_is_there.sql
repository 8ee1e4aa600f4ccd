-- Star: every NextSong event of this batch is a play, with a user version when it has a user.
with plays as (
    select {{ songplay_key() }} as songplay_key, {{ hour_key("start_time") }} as hour, user_id, ts
    from staging_events
    where batch_id >= :first_batch and page = 'NextSong'
)

select plays.songplay_key, plays.user_id, plays.ts
from plays
left join songplays
    on plays.songplay_key = songplays.songplay_key
    and plays.hour = songplays.start_time
where
    songplays.songplay_key is null
    or (plays.user_id <> '' and songplays.user_key is null)
