model (name star.time, kind full);

-- Grain: one hour that has an event.
with hours as (
    select distinct date_trunc('hour', start_time) as began
    from star.staging_events
)

select
    cast(strftime(began, '%Y%m%d%H') as integer) as start_time,
    hour(began) as hour,
    day(began) as day,
    week(began) as week,
    month(began) as month,
    year(began) as year,
    isodow(began) as weekday
from hours
