-- Users with any event, by day: on the day, of them those who played a song, and in the 7 and 30
-- days that end with it. A window is NULL unless all of its days are whole.
with recursive {{ days() }},

active as (
    select
        cast(start_time as date) as day,
        user_id,
        max(case when page = 'NextSong' then 1 else 0 end) as listens
    from events
    where user_id <> ''
    group by cast(start_time as date), user_id
),

-- A user counts from an active day on, until so many days later, or until active again.
stretches as (
    select
        day,
        listens,
        coalesce(
            lead(day) over (partition by user_id order by day), cast(day + 30 as date)
        ) as again
    from active
),

changes as (
    select day, count(*) as daily, sum(listens) as listeners, count(*) as weekly, count(*) as monthly
    from stretches
    group by day
    union all
    select least(again, cast(day + 7 as date)), 0, 0, -count(*), 0
    from stretches
    group by least(again, cast(day + 7 as date))
    union all
    select least(again, cast(day + 30 as date)), 0, 0, 0, -count(*)
    from stretches
    group by least(again, cast(day + 30 as date))
),

counted as (
    select
        days.day,
        days.partial,
        cast(coalesce(sum(changes.daily), 0) as bigint) as daily,
        cast(coalesce(sum(changes.listeners), 0) as bigint) as listeners,
        sum(coalesce(sum(changes.weekly), 0))
            over (order by days.day rows unbounded preceding) as weekly,
        sum(coalesce(sum(changes.monthly), 0))
            over (order by days.day rows unbounded preceding) as monthly
    from days
    left join changes on days.day = changes.day
    group by days.day, days.partial
),

windows as (
    select
        counted.day,
        counted.partial,
        counted.daily,
        counted.listeners,
        case
            when not counted.partial and counted.day - 6 >= bounds.first_whole_day
                then cast(counted.weekly as double precision)
        end as weekly,
        case
            when not counted.partial and counted.day - 29 >= bounds.first_whole_day
                then cast(counted.monthly as double precision)
        end as monthly
    from counted
    cross join bounds
)

select
    day,
    daily,
    listeners,
    weekly,
    monthly,
    {{ ratio("daily", "weekly") }} as weekly_stickiness,
    {{ ratio("daily", "monthly") }} as stickiness,
    partial
from windows
order by day
