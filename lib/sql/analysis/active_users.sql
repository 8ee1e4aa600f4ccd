-- Users with any event, by day (UTC): `daily`, on that day; `listeners`, those of them who played a
-- song; `weekly` and `monthly`, over the 7 and 30 days ending on it. A window is NULL unless each
-- of its days is whole and in the data.
with {{ days() }},

active as (
    select
        cast(start_time as date) as day,
        user_id,
        max(case when page = 'NextSong' then 1 else 0 end) as listens
    from events
    where user_id <> ''
    group by cast(start_time as date), user_id
),

-- A user counts from an active day until the window's length later, or the next active day.
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
    union all
    select day, 0, 0, 0, 0 from days
),

counted as (
    select
        day,
        cast(sum(daily) as bigint) as daily,
        cast(sum(listeners) as bigint) as listeners,
        sum(sum(weekly)) over (order by day rows unbounded preceding) as weekly,
        sum(sum(monthly)) over (order by day rows unbounded preceding) as monthly
    from changes
    group by day
),

windows as (
    select
        counted.day,
        days.partial,
        counted.daily,
        counted.listeners,
        {% for span, number in [(7, "weekly"), (30, "monthly")] %}
        case
            when
                not days.partial
                and counted.day - {{ span - 1 }} >= bounds.first_whole_day
                and lag(days.day, {{ span - 1 }}) over (order by days.day)
                = counted.day - {{ span - 1 }}
                then cast(counted.{{ number }} as double precision)
        end as {{ number }}{{ "," if not loop.last }}
        {% endfor %}
    from counted
    inner join days on counted.day = days.day
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
