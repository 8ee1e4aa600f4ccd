-- One row: all requests, the failed ones (status 400 or above), and the share that failed with the
-- ends of its 95% confidence interval.
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
