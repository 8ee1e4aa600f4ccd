-- By week (its Monday, UTC): plays of a song that the user had played before, against first plays,
-- and artists whom a listener played for the first time. What came before the data is not known,
-- so that the first weeks look newer than they were. Plays without a user or title are left out.
with recursive {{ weeks() }},

{{ listeners() }},

plays as (
    select
        listeners.listener,
        {{ engine.text_number("songplays.song_title") }} as title,
        {{ engine.text_number("songplays.artist_name") }} as artist,
        {{ week_of("songplays.played_at") }} as week
    from songplays
    inner join listeners on songplays.user_key = listeners.user_key
    where songplays.song_title is not null and songplays.artist_name is not null
),

by_listener as (
    select week, listener, count(*) as plays
    from plays
    group by week, listener
),

-- One sort by listener and artist tells a first play of either: to group millions of pairs takes two.
marked as (
    select
        week,
        min(week) over (partition by listener, artist) as artist_week,
        case
            when lag(title) over (partition by listener, artist order by title, week) = title then 0
            else 1
        end as title_is_new,
        case
            when row_number() over (partition by listener, artist order by title, week) = 1 then 1
            else 0
        end as is_one_of_artist
    from plays
),

firsts as (
    select week, artist_week, sum(title_is_new) as titles, sum(is_one_of_artist) as artists
    from marked
    group by week, artist_week
),

counted as (
    select week, sum(plays) as plays, count(*) as listeners, 0 as firsts, 0 as artists
    from by_listener
    group by week
    union all
    select week, 0, 0, titles, 0 from firsts
    union all
    select artist_week, 0, 0, 0, artists from firsts
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
