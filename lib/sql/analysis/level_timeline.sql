-- The levels of every user who changed level, from the first event to the end of the data, one row
-- per version. Nobody can be told from it: users are numbered in the order of their first change,
-- and times are days. `users` counts all users, changed or not.
with spans as (
    select
        user_id,
        level,
        valid_from,
        valid_to,
        min(valid_to) over (partition by user_id) as changed_at
    from users
)

select
    cast(dense_rank() over (order by changed_at, user_id) as integer) as person,
    level,
    cast(valid_from as date) as first_day,
    cast(coalesce(valid_to, (select max(start_time) from events)) as date) as last_day,
    (select count(distinct user_id) from users) as users
from spans
where changed_at is not null
order by person, valid_from
