-- Earlier plays of what this batch's songs are or were called: the song that now fits best.
update songplays
set song_id = rematched.song_id, artist_id = rematched.artist_id
from (
    select distinct plays.songplay_key, matches.song_id, matches.artist_id
    from (
        select
            {{ songplay_key("staging_events", trimmed("song"), trimmed("artist")) }} as songplay_key,
            {{ trimmed("song") }} as song_title,
            {{ trimmed("artist") }} as artist_name,
            {{ length_key("length") }} as length_key
        from staging_events
        inner join concerned_titles
            on {{ trimmed("staging_events.song") }} = concerned_titles.title
            and {{ trimmed("staging_events.artist") }} = concerned_titles.artist_name
        where staging_events.page = 'NextSong' and staging_events.batch_id < :first_batch
    ) as plays
    left join matches
        on plays.song_title = matches.song_title
        and plays.artist_name = matches.artist_name
        and plays.length_key = matches.length_key
) as rematched
where
    songplays.songplay_key = rematched.songplay_key
    and (
        coalesce(songplays.song_id, '') <> coalesce(rematched.song_id, '')
        or coalesce(songplays.artist_id, '') <> coalesce(rematched.artist_id, '')
    )
