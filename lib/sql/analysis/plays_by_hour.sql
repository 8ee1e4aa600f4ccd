-- All plays by weekday (1 for Monday) and hour of the day, UTC; a cell without plays is a zero.
with hours as (
    {{ numbers(0, 23) }}
),

weekdays as (
    {{ numbers(1, 7) }}
),

plays as (
    select time.weekday, time.hour, count(*) as plays
    from songplays
    inner join time on songplays.start_time = time.start_time
    group by time.weekday, time.hour
)

select
    weekdays.number as weekday,
    hours.number as hour,
    coalesce(plays.plays, 0) as plays
from weekdays
cross join hours
left join plays
    on weekdays.number = plays.weekday
    and hours.number = plays.hour
order by weekdays.number, hours.number
