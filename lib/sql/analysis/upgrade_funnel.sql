-- Users on their way to paid, each step later than the one before: listened while free, saw the
-- page Upgrade, submitted it, played a song while paid. `share` is the share of those at the first
-- step.
with listened as (
    select user_id, min(start_time) as reached_at
    from events
    where user_id <> '' and page = 'NextSong' and level = 'free'
    group by user_id
),

visits as (
    select user_id, page, start_time
    from events
    where page in ('Upgrade', 'Submit Upgrade')
),

saw as (
    select visits.user_id, min(visits.start_time) as reached_at
    from visits
    inner join listened on visits.user_id = listened.user_id
    where visits.page = 'Upgrade' and visits.start_time > listened.reached_at
    group by visits.user_id
),

submitted as (
    select visits.user_id, min(visits.start_time) as reached_at
    from visits
    inner join saw on visits.user_id = saw.user_id
    where visits.page = 'Submit Upgrade' and visits.start_time > saw.reached_at
    group by visits.user_id
),

paid as (
    select events.user_id
    from events
    inner join submitted on events.user_id = submitted.user_id
    where
        events.page = 'NextSong'
        and events.level = 'paid'
        and events.start_time > submitted.reached_at
    group by events.user_id
),

steps as (
    select
        1 as step,
        cast('Listened while free' as varchar(32)) as name,
        count(*) as users
    from listened
    union all
    select 2, 'Saw Upgrade', count(*) from saw
    union all
    select 3, 'Submitted Upgrade', count(*) from submitted
    union all
    select 4, 'Listened while paid', count(*) from paid
)

select
    step,
    name,
    users,
    {{ ratio("users", "(select count(*) from listened)") }} as share
from steps
order by step
