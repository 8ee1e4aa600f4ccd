-- Grain: one hour that has an event.
select
    start_time,
    extract(hour from start_time) as hour,
    extract(day from start_time) as day,
    extract(week from start_time) as week,
    extract(month from start_time) as month,
    extract(year from start_time) as year,
    extract(isodow from start_time) as weekday
from (
    select distinct date_trunc('hour', start_time) as start_time from {{ ref("staging_events") }}
) as hours
