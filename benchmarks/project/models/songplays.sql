-- Grain: one NextSong event, with the user's version in force and the song of that title by that
-- artist which is nearest in duration.
with plays as (
    select distinct
        start_time, user_id, session_id, item_in_session, song_title, artist_name, length,
        location, user_agent
    from {{ ref("staging_events") }}
    where page = 'NextSong'
),

matches as (
    select distinct on (song_title, played.artist_name, length)
        song_title, played.artist_name, length, song_id, artist_id
    from (select distinct song_title, artist_name, length from plays) as played
    inner join {{ ref("songs") }} as songs
        on song_title = title and played.artist_name = songs.artist_name
    order by song_title, played.artist_name, length, abs(duration - length), song_id
)

select
    date_trunc('hour', start_time) as start_time, start_time as played_at,
    user_key, level, song_id, artist_id, session_id, item_in_session,
    plays.song_title, plays.artist_name, location, user_agent
from plays
left join {{ ref("users") }} as users
    on plays.user_id = users.user_id
    and plays.start_time >= users.valid_from
    and plays.start_time < coalesce(users.valid_to, timestamp '9999-12-31')
left join matches
    on plays.song_title = matches.song_title
    and plays.artist_name = matches.artist_name
    and plays.length = matches.length
