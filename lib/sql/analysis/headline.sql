-- The headline figures of the last seven complete days (UTC), or of as many as there are; then, if
-- they are complete too, those of the seven days before. The log's first day is complete when its
-- first hour has an event, the last day when its last hour has one.
with complete as (
    select
        cast(min(start_time) + interval '23 hours' as date) as first_day,
        cast(cast(max(start_time) + interval '1 hour' as date) - 1 as date) as last_day
    from events
),

weeks as (
    select greatest(first_day, cast(last_day - 6 as date)) as first_day, last_day
    from complete
    where first_day <= last_day
    union all
    select cast(last_day - 13 as date), cast(last_day - 7 as date)
    from complete
    where first_day <= cast(last_day - 13 as date)
)

select
    weeks.first_day,
    weeks.last_day,
    count(songplays.played_at) as plays,
    count(distinct users.user_id) as listeners,
    cast(count(case when songplays.level = 'paid' then 1 end) as double precision)
        / nullif(count(songplays.played_at), 0) as paid_share,
    cast(count(users.user_key) as double precision)
        / nullif(count(distinct users.user_id), 0) as plays_per_listener
from weeks
left join songplays
    on cast(songplays.played_at as date) between weeks.first_day and weeks.last_day
left join users on songplays.user_key = users.user_key
group by weeks.first_day, weeks.last_day
order by weeks.first_day desc
