-- Plays of :level ('' for all levels) by weekday (1 is Monday) and hour (UTC), zero where there are
-- none. `days` counts the days on which the data covers that hour of that weekday; a partial day
-- counts for the hours that it has. Without such a day, `plays_per_day` is NULL.
with {{ days() }},

hours as (
    {{ numbers(0, 23) }}
),

weekdays as (
    {{ numbers(1, 7) }}
),

covered as (
    select {{ engine.weekday("days.day") }} as weekday, hours.number as hour, count(*) as days
    from days
    cross join hours
    cross join bounds
    where
        (days.day > bounds.first_day or hours.number >= bounds.first_hour)
        and (days.day < bounds.last_day or hours.number <= bounds.last_hour)
    group by {{ engine.weekday("days.day") }}, hours.number
),

plays as (
    select time.weekday, time.hour, count(*) as plays
    from songplays
    inner join time on songplays.start_time = time.start_time
    where {{ of_level() }}
    group by time.weekday, time.hour
)

select
    weekdays.number as weekday,
    hours.number as hour,
    coalesce(plays.plays, 0) as plays,
    coalesce(covered.days, 0) as days,
    {{ ratio("coalesce(plays.plays, 0)", "covered.days") }} as plays_per_day
from weekdays
cross join hours
left join covered
    on weekdays.number = covered.weekday
    and hours.number = covered.hour
left join plays
    on weekdays.number = plays.weekday
    and hours.number = plays.hour
order by weekdays.number, hours.number
