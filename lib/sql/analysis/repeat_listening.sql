-- By week (its Monday, UTC): plays of a song that the user had played before, against first plays,
-- and artists whom a listener played for the first time. What came before the data is not known,
-- so that the first weeks look newer than they were. Plays without a user or title are left out.
with recursive {{ weeks() }},

-- Numbers for texts: millions of plays are then put together by few bytes.
titles as (
    select
        song_title,
        artist_name,
        row_number() over (order by song_title, artist_name) as title,
        dense_rank() over (order by artist_name) as artist
    from songplays
    where song_title is not null and artist_name is not null
    group by song_title, artist_name
),

{{ listeners() }},

plays as (
    select
        listeners.listener,
        titles.title,
        titles.artist,
        {{ week_of("songplays.played_at") }} as week
    from songplays
    inner join titles
        on songplays.song_title = titles.song_title
        and songplays.artist_name = titles.artist_name
    inner join listeners on songplays.user_key = listeners.user_key
),

by_listener as (
    select week, listener, count(*) as plays
    from plays
    group by week, listener
),

first_plays as (
    select listener, title, artist, min(week) as week
    from plays
    group by listener, title, artist
),

new_artists as (
    select listener, artist, min(week) as week
    from first_plays
    group by listener, artist
),

counted as (
    select week, sum(plays) as plays, count(*) as listeners, 0 as firsts, 0 as artists
    from by_listener
    group by week
    union all
    select week, 0, 0, count(*), 0 from first_plays group by week
    union all
    select week, 0, 0, 0, count(*) from new_artists group by week
),

weekly as (
    select
        weeks.week,
        weeks.complete,
        cast(coalesce(sum(counted.plays), 0) as bigint) as plays,
        cast(coalesce(sum(counted.firsts), 0) as bigint) as first_plays,
        cast(coalesce(sum(counted.listeners), 0) as bigint) as listeners,
        cast(coalesce(sum(counted.artists), 0) as bigint) as new_artists
    from weeks
    left join counted on weeks.week = counted.week
    group by weeks.week, weeks.complete
)

select
    week,
    plays,
    first_plays,
    plays - first_plays as repeats,
    {{ ratio("plays - first_plays", "plays") }} as repeat_share,
    listeners,
    new_artists,
    {{ ratio("new_artists", "listeners") }} as new_artists_per_listener,
    complete
from weekly
order by week
