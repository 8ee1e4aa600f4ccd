-- By week (its Monday, UTC): first plays of a song by a user and repeats, and artists that a
-- listener played for the first time. What was played before the data begins is unknown, so the
-- first weeks seem to have fewer repeats than they had. Plays without a user, title or artist are
-- left out.
with {{ weeks() }},

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

-- One sort brings plays of an artist and of a title together; grouping each would take two.
neighbours as (
    select
        week,
        listener,
        artist,
        title,
        lag(artist) over (partition by listener order by artist, title, week) as artist_before,
        lag(title) over (partition by listener order by artist, title, week) as title_before,
        lead(artist) over (partition by listener order by artist, title, week) as artist_after
    from plays
),

marked as (
    select
        week,
        listener,
        artist,
        case when artist_before = artist and title_before = title then 0 else 1 end as title_is_new,
        case when artist_before = artist or artist_after = artist then 0 else 1 end as is_alone
    from neighbours
),

firsts as (
    select week, sum(title_is_new) as titles, sum(is_alone) as artists
    from marked
    group by week
    union all
    select week, 0, count(*)
    from (
        select min(week) as week
        from marked
        where is_alone = 0
        group by listener, artist
    ) as artists_of_several_plays
    group by week
),

counted as (
    select week, sum(plays) as plays, count(*) as listeners, 0 as firsts, 0 as artists
    from by_listener
    group by week
    union all
    select week, 0, 0, titles, artists from firsts
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
