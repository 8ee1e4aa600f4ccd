-- Star: hour by hour, there are as many plays as NextSong events, and as many of them of a user.
{# `exact`: events that were delivered more than once are counted once; else there are none. #}
with events as (
    select
        date_trunc('hour', start_time) as hour,
        count(*) as events,
        count(nullif(user_id, '')) as of_users
    from {% if exact %}(
        select distinct start_time, session_id, item_in_session, user_id, page
        from staging_events
        where page = 'NextSong'
    ) as events{% else %}staging_events{% endif %}

    where page = 'NextSong' and {{ in_time_of_load("start_time", all) }}
    group by date_trunc('hour', start_time)
),

plays as (
    select
        date_trunc('hour', played_at) as hour,
        count(*) as plays,
        count(user_key) as of_users
    from songplays
    where {{ in_time_of_load("played_at", all) }}
    group by date_trunc('hour', played_at)
)

select
    coalesce(events.hour, plays.hour) as hour,
    coalesce(events.events, 0) as events,
    coalesce(plays.plays, 0) as plays,
    coalesce(events.of_users, 0) as events_of_users,
    coalesce(plays.of_users, 0) as plays_of_users
from events
full outer join plays on events.hour = plays.hour
where
    coalesce(events.events, 0) <> coalesce(plays.plays, 0)
    or coalesce(events.of_users, 0) <> coalesce(plays.of_users, 0)
