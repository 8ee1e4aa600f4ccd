-- Sessions by the level they began with: how many, of how many users, and the quartiles of their
-- minutes (from the first event to the last) and songs. A session is a user's: several users'
-- sessions share one id.
with sessions as (
    select
        user_id,
        session_id,
        min(level) as level,
        max(level) as other_level,
        max(ts) - min(ts) as milliseconds,
        count(case when page = 'NextSong' then 1 end) as songs
    from staging_events
    where user_id <> ''
    group by user_id, session_id
),

-- Few change their level: only their events need be put in order.
changed as (
    select
        events.user_id,
        events.session_id,
        events.level,
        row_number() over (
            partition by events.user_id, events.session_id
            order by events.ts, events.item_in_session, events.level
        ) as position
    from staging_events as events
    inner join sessions
        on events.user_id = sessions.user_id
        and events.session_id = sessions.session_id
    where sessions.level <> sessions.other_level
),

begun as (
    select
        coalesce(changed.level, sessions.level) as level,
        sessions.user_id,
        sessions.milliseconds,
        sessions.songs
    from sessions
    left join changed
        on sessions.user_id = changed.user_id
        and sessions.session_id = changed.session_id
        and changed.position = 1
),

ranked as (
    select
        level,
        user_id,
        milliseconds,
        songs,
        count(*) over (partition by level) as n,
        row_number() over (partition by level order by milliseconds) as by_length,
        row_number() over (partition by level order by songs) as by_songs
    from begun
)

select
    level,
    count(*) as sessions,
    count(distinct user_id) as users,
    {% for k, name in [(1, "q1"), (2, "median"), (3, "q3")] %}
    {{ quartile(k, "milliseconds", "by_length", "n") }} / 60000 as minutes_{{ name }},
    {% endfor %}
    {% for k, name in [(1, "q1"), (2, "median"), (3, "q3")] %}
    {{ quartile(k, "songs", "by_songs", "n") }} as songs_{{ name }}{{ "," if not loop.last }}
    {% endfor %}
from ranked
group by level
order by level
