-- Users with any event, by day: on the day, of them those who played a song, and in the 7 and 30
-- days that end with it. A window is NULL unless all of its days are whole.
with recursive {{ days() }},

active as (
    select
        cast(start_time as date) as day,
        user_id,
        max(case when page = 'NextSong' then user_id end) as listener
    from staging_events
    where user_id <> ''
    group by cast(start_time as date), user_id
),

counted as (
    select
        days.day,
        days.partial,
        count(case when active.day = days.day then active.user_id end) as daily,
        count(case when active.day = days.day then active.listener end) as listeners,
        count(distinct case when active.day > days.day - 7 then active.user_id end) as weekly,
        count(distinct active.user_id) as monthly
    from days
    left join active on active.day > days.day - 30 and active.day <= days.day
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
