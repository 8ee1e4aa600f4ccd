-- The users whom this load touches, their versions built anew from all of their events.
-- A version starts where the level differs from the one before. Several events in one
-- millisecond count as the last of them, so that no version is empty.
{% if not all %}
drop table if exists touched_users;

create temporary table touched_users as
select distinct user_id
from staging_events
where batch_id >= :first_batch and user_id <> '';

drop table if exists former_users;

create temporary table former_users as
select *
from users
where user_id in (select user_id from touched_users);

delete from users
where user_id in (select user_id from touched_users);

{% endif %}
-- All that is known of a user, in few rows, so that only the events of those whose level has
-- changed are sorted.
drop table if exists profiles;

create temporary table profiles as
select
    user_id,
    level,
    first_name,
    last_name,
    gender,
    min(ts) as first_ts,
    max(ts) as last_ts,
    min(start_time) as began
from staging_events
where {% if all %}user_id <> ''{% else %}user_id in (select user_id from touched_users){% endif %}

group by user_id, level, first_name, last_name, gender;

insert into users
with events as (
    select
        user_id,
        ts,
        start_time,
        level,
        session_id,
        item_in_session,
        lag(level) over (
            partition by user_id
            order by ts, session_id, item_in_session, level
        ) as level_before
    from staging_events
    where user_id in (
        select user_id
        from profiles
        group by user_id
        having min(level) <> max(level)
    )
),

changes as (
    select
        user_id,
        ts,
        start_time,
        level,
        row_number() over (
            partition by user_id, ts
            order by session_id desc, item_in_session desc, level desc
        ) as position
    from events
    where level_before is null or level_before <> level
),

moments as (
    select
        user_id,
        ts,
        start_time,
        level,
        lag(level) over (partition by user_id order by ts) as level_before
    from changes
    where position = 1
),

versions as (
    select
        user_id,
        ts,
        level,
        start_time as valid_from,
        lead(start_time) over (partition by user_id order by ts) as valid_to
    from moments
    where level_before is null or level_before <> level
    union all
    select
        user_id,
        min(first_ts),
        min(level),
        min(began),
        cast(null as timestamp)
    from profiles
    group by user_id
    having min(level) = max(level)
),

last_named as (
    select user_id, max(last_ts) as ts
    from profiles
    where first_name is not null or last_name is not null
    group by user_id
),

named as (
    select
        staging_events.user_id,
        staging_events.first_name,
        staging_events.last_name,
        staging_events.gender,
        row_number() over (
            partition by staging_events.user_id
            order by
                staging_events.session_id desc,
                staging_events.item_in_session desc,
                coalesce(staging_events.first_name, ''),
                coalesce(staging_events.last_name, ''),
                coalesce(staging_events.gender, '')
        ) as position
    from staging_events
    inner join last_named
        on staging_events.user_id = last_named.user_id
        and staging_events.ts = last_named.ts
    where staging_events.first_name is not null or staging_events.last_name is not null
)

select
    {{ user_key("versions") }} as user_key,
    versions.user_id,
    named.first_name,
    named.last_name,
    named.gender,
    versions.level,
    versions.valid_from,
    versions.valid_to,
    versions.valid_to is null as is_current
from versions
left join named on versions.user_id = named.user_id and named.position = 1;

{% if not all %}
-- The versions that are no more, or end elsewhere: a table, since a planner that does not know how
-- few they are reads all plays into memory.
drop table if exists changed_versions;

create temporary table changed_versions as
select former_users.user_id, former_users.user_key
from former_users
left join users on former_users.user_key = users.user_key
where
    users.user_key is null
    or coalesce(users.valid_to, users.valid_from)
    <> coalesce(former_users.valid_to, former_users.valid_from)
{% endif %}
