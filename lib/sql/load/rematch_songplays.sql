-- Earlier plays of what this load's songs are or were called: the song that now fits best.
update songplays
set song_id = rematched.song_id, artist_id = rematched.artist_id
from (
    select distinct
        plays.start_time,
        plays.session_id,
        plays.item_in_session,
        users.user_key,
        matches.song_id,
        matches.artist_id
    from (
        select
            staging_events.start_time,
            staging_events.session_id,
            staging_events.item_in_session,
            staging_events.user_id,
            concerned_titles.title,
            concerned_titles.artist_name,
            {{ length_key("staging_events.length") }} as length_key
        from staging_events
        inner join concerned_titles
            on {{ trimmed("staging_events.song") }} = concerned_titles.title
            and {{ trimmed("staging_events.artist") }} = concerned_titles.artist_name
        where staging_events.page = 'NextSong' and staging_events.batch_id < :first_batch
    ) as plays
    left join users
        on plays.user_id = users.user_id
        and {{ in_force("users", "plays.start_time") }}
    left join matches
        on plays.title = matches.song_title
        and plays.artist_name = matches.artist_name
        and plays.length_key = matches.length_key
) as rematched
where
    songplays.played_at = rematched.start_time
    and songplays.session_id = rematched.session_id
    and songplays.item_in_session = rematched.item_in_session
    and coalesce(songplays.user_key, -1) = coalesce(rematched.user_key, -1)
    and (
        coalesce(songplays.song_id, '') <> coalesce(rematched.song_id, '')
        or coalesce(songplays.artist_id, '') <> coalesce(rematched.artist_id, '')
    )
