model (name star.users, kind full);

-- Grain: one version of a user. A version starts where the level differs from the one before;
-- several events in one millisecond count as the last of them.
with events as (
    select *
    from star.staging_events
    where user_id <> ''
),

changes as (
    select user_id, ts, start_time, session_id, item_in_session, level
    from events
    qualify
        level is distinct from lag(level) over (
            partition by user_id
            order by ts, session_id, item_in_session, level
        )
),

moments as (
    select *
    from changes
    qualify row_number() over (
        partition by user_id, ts
        order by session_id desc, item_in_session desc, level desc
    ) = 1
),

starts as (
    select *
    from moments
    qualify level is distinct from lag(level) over (partition by user_id order by ts)
),

named as (
    select
        user_id,
        arg_max(
            {'first_name': first_name, 'last_name': last_name, 'gender': gender},
            (ts, session_id, item_in_session)
        ) as latest
    from events
    where first_name is not null or last_name is not null
    group by user_id
)

select
    md5(concat_ws('|', starts.user_id, ts, level)) as user_key,
    starts.user_id,
    latest.first_name,
    latest.last_name,
    latest.gender,
    level,
    start_time as valid_from,
    lead(start_time) over (partition by starts.user_id order by ts) as valid_to,
    valid_to is null as is_current
from starts
left join named on starts.user_id = named.user_id
