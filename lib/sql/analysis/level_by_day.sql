-- Plays and listeners by day (UTC) and by the level in force when the song was played. A play
-- without a user has no level and is left out.
with {{ days() }},

levels as (
    select distinct level from users
),

listened as (
    select cast(played_at as date) as day, level, user_key, count(*) as plays
    from songplays
    where level is not null
    group by cast(played_at as date), level, user_key
),

counted as (
    select
        days.day,
        levels.level,
        days.partial,
        cast(coalesce(sum(listened.plays), 0) as bigint) as plays,
        count(distinct users.user_id) as listeners
    from days
    cross join levels
    left join listened on days.day = listened.day and levels.level = listened.level
    left join users on listened.user_key = users.user_key
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
