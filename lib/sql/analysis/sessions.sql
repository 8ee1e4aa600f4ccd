-- Sessions by the level at which they began: how many, of how many users, and the quartiles of
-- their minutes (from first event to last) and songs. A session is known by its user and its id,
-- since several users share one id.
with sessions as (
    select
        user_id,
        session_id,
        min(level) as level,
        max(level) as other_level,
        max(ts) - min(ts) as milliseconds,
        count(case when page = 'NextSong' then 1 end) as songs
    from events
    where user_id <> ''
    group by user_id, session_id
),

-- Few sessions change level, so only their events need sorting.
changed as (
    select
        events.user_id,
        events.session_id,
        events.level,
        row_number() over (
            partition by events.user_id, events.session_id
            order by events.ts, events.item_in_session, events.level
        ) as position
    from events
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

people as (
    select level, count(*) as sessions, count(distinct user_id) as users
    from begun
    group by level
),

-- Each length and each number of songs once, with how often it occurs.
counted as (
    select
        level,
        cast('minutes' as varchar(8)) as measure,
        milliseconds as number,
        count(*) as times
    from begun
    group by level, milliseconds
    union all
    select level, 'songs', cast(songs as bigint), count(*)
    from begun
    group by level, songs
),

placed as (
    select
        level,
        case when measure = 'minutes' then number end as milliseconds,
        case when measure = 'songs' then number end as songs,
        times,
        cast(
            sum(times) over (
                partition by level, measure order by number rows unbounded preceding
            ) as bigint
        ) as upto
    from counted
)

select
    people.level,
    people.sessions,
    people.users,
    {% for k, name in [(1, "q1"), (2, "median"), (3, "q3")] %}
    {{ quartile(k, "milliseconds", "times", "upto", "people.sessions") }} / 60000
        as minutes_{{ name }},
    {% endfor %}
    {% for k, name in [(1, "q1"), (2, "median"), (3, "q3")] %}
    {{ quartile(k, "songs", "times", "upto", "people.sessions") }}
        as songs_{{ name }}{{ "," if not loop.last }}
    {% endfor %}
from people
inner join placed on people.level = placed.level
group by people.level, people.sessions, people.users
order by people.level
