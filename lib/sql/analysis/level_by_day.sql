-- Plays and their listeners, free against paid, by day; a play without a user has no level.
with recursive {{ days() }},

levels as (
    select distinct level from users
),

counted as (
    select
        days.day,
        levels.level,
        days.partial,
        count(songplays.played_at) as plays,
        count(distinct users.user_id) as listeners
    from days
    cross join levels
    left join songplays
        on days.day = cast(songplays.played_at as date)
        and levels.level = songplays.level
    left join users on songplays.user_key = users.user_key
    group by days.day, levels.level, days.partial
)

select
    day,
    level,
    plays,
    listeners,
    {{ ratio("plays", "listeners") }} as plays_per_listener,
    partial
from counted
order by day, level
