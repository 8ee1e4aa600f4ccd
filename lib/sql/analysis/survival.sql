-- Survival curves: the share of users who have not yet upgraded (by days since first seen, of users
-- first seen free), gone back to free (since first seen paid) or cancelled (since first seen).
-- Kaplan-Meier estimate (JASA 53, 1958): users are at risk until the event, a cancellation or the
-- end of the data. Day 1 is the first 24 hours; day 0 has the number of users. Days with fewer than
-- :least users at risk are left out.
with recursive bounds as (
    select max(start_time) as last_event from events
),

versions as (
    select
        user_id,
        level,
        valid_from,
        valid_to,
        row_number() over (partition by user_id order by valid_from) as version,
        row_number() over (partition by user_id, level order by valid_from) as version_of_level
    from users
),

cancellations as (
    select user_id, min(start_time) as cancelled_at
    from events
    where user_id <> '' and page = 'Cancellation Confirmation'
    group by user_id
),

spells as (
    select cast('upgrade' as varchar(16)) as event, user_id, valid_from as since, valid_to as until
    from versions
    where version = 1 and level = 'free'
    union all
    select 'downgrade', user_id, valid_from, valid_to
    from versions
    where version_of_level = 1 and level = 'paid'
    union all
    select 'cancellation', versions.user_id, versions.valid_from, cancellations.cancelled_at
    from versions
    left join cancellations on versions.user_id = cancellations.user_id
    where versions.version = 1
),

observed as (
    select
        spells.event,
        spells.since,
        coalesce(spells.until, cancellations.cancelled_at, bounds.last_event) as until,
        case when spells.until is not null then 1 end as happened
    from spells
    cross join bounds
    left join cancellations
        on spells.user_id = cancellations.user_id
        and spells.since < cancellations.cancelled_at
),

lengths as (
    select event, {{ engine.milliseconds("since", "until") }} / 86400000 + 1 as day, happened
    from observed
),

ends as (
    select event, 0 as day, 0 as events, 0 as users from lengths group by event
    union all
    select event, day, count(happened), count(*) from lengths group by event, day
),

steps as (
    select
        event,
        day,
        events,
        cast(
            sum(users) over (
                partition by event
                order by day desc
                rows between unbounded preceding and current row
            ) as bigint
        ) as at_risk,
        row_number() over (partition by event order by day) as step
    from ends
),

survival(event, step, day, at_risk, events, survival) as (
    select event, step, day, at_risk, events, cast(1 as double precision)
    from steps
    where step = 1
    union all
    select
        steps.event,
        steps.step,
        steps.day,
        steps.at_risk,
        steps.events,
        survival.survival * (steps.at_risk - steps.events) / steps.at_risk
    from survival
    inner join steps
        on survival.event = steps.event
        and survival.step + 1 = steps.step
)

select
    event,
    cast(day as integer) as day,
    at_risk,
    cast(events as bigint) as events,
    survival
from survival
where day = 0 or at_risk >= :least
order by event, day
