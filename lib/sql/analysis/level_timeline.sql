-- Users who changed level, each with their levels one after the other, by days, from their first
-- event to the end of the data. They are numbered, those who changed first come first: who it was,
-- and the moment, stay in `users`. The column `users` counts all, changed or not.
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
