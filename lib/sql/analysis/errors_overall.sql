-- All requests, those answered with an error, and the 95% interval of their share: one row.
with counted as (
    select
        count(status) as requests,
        count(case when status >= 400 then 1 end) as errors
    from events
)

select
    requests,
    errors,
    {{ ratio("errors", "requests") }} as share,
    {{ wilson("-", "errors", "requests") }} as low,
    {{ wilson("+", "errors", "requests") }} as high
from counted
