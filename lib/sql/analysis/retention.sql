-- Weekly cohorts: users by the week (its Monday, UTC) of their first event, and how many of them
-- had an event in that week and in each later one. `complete` says whether the data covers the
-- whole week; without, `share` is NULL. `cohort_complete` says so of the cohort's own week. The
-- first cohort includes users who came before the data begins. Cohorts of fewer than :least users
-- are left out; `left_out` counts them.
with {{ weeks() }},

active as (
    select distinct user_id, {{ week_of("start_time") }} as week
    from events
    where user_id <> ''
),

first_seen as (
    select user_id, min(week) as cohort_week
    from active
    group by user_id
),

cohorts as (
    select cohort_week, count(*) as cohort_size
    from first_seen
    group by cohort_week
),

returned as (
    select first_seen.cohort_week, active.week, count(*) as users
    from first_seen
    inner join active on first_seen.user_id = active.user_id
    group by first_seen.cohort_week, active.week
)

select
    cohorts.cohort_week,
    cast((weeks.week - cohorts.cohort_week) / 7 as integer) as week_number,
    coalesce(returned.users, 0) as users,
    cohorts.cohort_size,
    case
        when weeks.complete
            then {{ ratio("coalesce(returned.users, 0)", "cohorts.cohort_size") }}
    end as share,
    weeks.complete,
    own_weeks.complete as cohort_complete,
    (select count(*) from cohorts where cohort_size < :least) as left_out
from cohorts
inner join weeks as own_weeks on cohorts.cohort_week = own_weeks.week
inner join weeks on cohorts.cohort_week <= weeks.week
left join returned
    on cohorts.cohort_week = returned.cohort_week
    and weeks.week = returned.week
where cohorts.cohort_size >= :least
order by cohorts.cohort_week, weeks.week
