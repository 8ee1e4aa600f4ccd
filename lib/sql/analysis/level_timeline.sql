-- Users who changed level, each with their levels one after the other, from their first event to
-- the end of the data; those who changed first come first. `users`: all users, changed or not.
with spans as (
    select
        user_id,
        level,
        valid_from,
        coalesce(valid_to, (select max(start_time) from events)) as valid_to,
        min(valid_to) over (partition by user_id) as changed_at,
        (select count(distinct user_id) from users) as users
    from users
)

select user_id, level, valid_from, valid_to, users
from spans
where changed_at is not null
order by changed_at, user_id, valid_from
