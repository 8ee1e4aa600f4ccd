-- Grain: one version of a user. A version starts where the level differs from the one before;
-- several events in one millisecond count as the last of them.
with ordered as (
    select
        user_id, start_time, session_id, item_in_session, level,
        lag(level) over (
            partition by user_id order by start_time, session_id, item_in_session, level
        ) as level_before
    from {{ ref("staging_events") }}
    where user_id <> ''
),

changes as (
    select distinct on (user_id, start_time) user_id, start_time, level
    from ordered
    where level is distinct from level_before
    order by user_id, start_time, session_id desc, item_in_session desc, level desc
),

versions as (
    select *, lag(level) over (partition by user_id order by start_time) as level_before
    from changes
),

names as (
    select distinct on (user_id) user_id, first_name, last_name, gender
    from {{ ref("staging_events") }}
    where user_id <> '' and (first_name is not null or last_name is not null)
    order by user_id, start_time desc, session_id desc, item_in_session desc
)

select
    row_number() over (order by versions.user_id, start_time) as user_key,
    versions.user_id, first_name, last_name, gender, level, start_time as valid_from,
    lead(start_time) over (partition by versions.user_id order by start_time) as valid_to
from versions
left join names on versions.user_id = names.user_id
where level is distinct from level_before
