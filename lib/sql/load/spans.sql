-- The time of this load's events, from and until, cut where there are enough of them to be put in
-- place at once.
with hours as (
    select date_trunc('hour', start_time) as hour, count(*) as events
    from staging_events
    where batch_id >= :first_batch
    group by date_trunc('hour', start_time)
),

numbered as (
    select
        hour,
        floor(
            (sum(events) over (order by hour rows unbounded preceding) - 1)
            / {{ engine.enough_events() }}
        ) as span
    from hours
)

select min(hour) as since, max(hour) + interval '1 hour' as until
from numbered
group by span
order by span
