-- Sessions by the level they began with: how many, of how many users, and the quartiles of their
-- minutes (from the first event to the last) and songs. A session is a user's: several users'
-- sessions share one id.
with events as (
    select
        user_id,
        session_id,
        start_time,
        ts,
        page,
        level,
        row_number() over (
            partition by user_id, session_id
            order by ts, item_in_session, level
        ) as position
    from staging_events
    where user_id <> ''
),

sessions as (
    select
        user_id,
        session_id,
        max(case when position = 1 then level end) as level,
        max(ts) - min(ts) as milliseconds,
        count(case when page = 'NextSong' then 1 end) as songs
    from events
    group by user_id, session_id
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
    from sessions
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
