-- The hours of this load's events that `time` does not have yet.
insert into time
with hours as (
    select distinct date_trunc('hour', start_time) as began
    from staging_events
    where batch_id >= :first_batch
)

select
    {{ hour_key("began") }} as start_time,
    cast(extract(hour from began) as integer) as hour,
    cast(extract(day from began) as integer) as day,
    cast(extract(week from began) as integer) as week,
    cast(extract(month from began) as integer) as month,
    cast(extract(year from began) as integer) as year,
    {{ engine.weekday("began") }} as weekday
from hours
where {{ hour_key("began") }} not in (select start_time from time)
