-- Requests and failed requests (status 400 or above) by day (UTC); `low` and `high` are the ends of
-- the 95% confidence interval of the share that failed.
with {{ days() }},

counted as (
    select
        days.day,
        days.partial,
        count(events.status) as requests,
        count(case when events.status >= 400 then 1 end) as errors
    from days
    left join events on days.day = cast(events.start_time as date)
    group by days.day, days.partial
)

select
    day,
    requests,
    errors,
    {{ ratio("errors", "requests") }} as share,
    {{ wilson("-", "errors", "requests") }} as low,
    {{ wilson("+", "errors", "requests") }} as high,
    partial
from counted
order by day
