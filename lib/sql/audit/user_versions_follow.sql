-- Star: one current version per user, the last; no gap, no overlap, no equal neighbours.
with versions as (
    select
        user_id,
        level,
        valid_from,
        valid_to,
        is_current,
        lead(valid_from) over (partition by user_id order by valid_from) as next_from,
        lead(level) over (partition by user_id order by valid_from) as next_level
    from users
)

select *
from versions
where
    valid_from >= coalesce(valid_to, cast('9999-12-31' as timestamp))
    or is_current <> (valid_to is null)
    or (next_from is null and valid_to is not null)
    or (next_from is not null and (valid_to is null or valid_to <> next_from))
    or level = next_level
