-- Requests, and of them those answered with an error (status 400 and above), by day; `low` and
-- `high` are the 95% interval of the share.
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
