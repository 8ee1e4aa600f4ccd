-- Users who went from free to paid (upgrades) and from paid to free (downgrades), by day (UTC).
with {{ days() }},

changes as (
    select
        cast(valid_from as date) as day,
        level,
        lag(level) over (partition by user_id order by valid_from) as level_before
    from users
)

select
    days.day,
    count(case when level_before = 'free' and level = 'paid' then 1 end) as upgrades,
    count(case when level_before = 'paid' and level = 'free' then 1 end) as downgrades,
    days.partial
from days
left join changes on days.day = changes.day
group by days.day, days.partial
order by days.day
