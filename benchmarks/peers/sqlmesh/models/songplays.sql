model (name star.songplays, kind full);

-- Grain: one NextSong event, with the user's version in force and the song of that title by that
-- artist which is nearest in duration.
with plays as (
    select distinct
        ts,
        start_time as played_at,
        user_id,
        session_id,
        item_in_session,
        exact_length,
        song_title,
        artist_name,
        location,
        user_agent
    from star.staging_events
    where page = 'NextSong'
),

played as (
    select distinct song_title, artist_name, exact_length
    from plays
),

matches as (
    select
        played.song_title,
        played.artist_name,
        played.exact_length,
        songs.song_id,
        songs.artist_id
    from played
    inner join star.songs as songs
        on played.song_title = songs.title
        and played.artist_name = songs.artist_name
    qualify row_number() over (
        partition by played.song_title, played.artist_name, played.exact_length
        order by abs(floor(songs.duration * 1e5 + 0.5) - played.exact_length), songs.song_id
    ) = 1
)

select
    md5(concat_ws(
        '|',
        plays.ts,
        plays.session_id,
        plays.item_in_session,
        coalesce(plays.exact_length, -1),
        plays.user_id,
        coalesce(plays.song_title, ''),
        coalesce(plays.artist_name, ''),
        coalesce(plays.location, ''),
        coalesce(plays.user_agent, '')
    )) as songplay_key,
    cast(
        year(plays.played_at) * 1000000 + month(plays.played_at) * 10000
        + day(plays.played_at) * 100 + hour(plays.played_at) as integer
    ) as start_time,
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
left join star.users as users
    on plays.user_id = users.user_id
    and plays.played_at >= users.valid_from
    and plays.played_at < coalesce(users.valid_to, timestamp '9999-12-31')
left join matches
    on plays.song_title = matches.song_title
    and plays.artist_name = matches.artist_name
    and plays.exact_length is not distinct from matches.exact_length
