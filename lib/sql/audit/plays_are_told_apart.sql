-- Stage: no two different plays have the same timestamp, session, item and user, which identify a
-- play.
with shared_timestamps as (
    {{ shared_timestamps(all) }}
),

events as (
    select distinct
        staging_events.start_time,
        staging_events.session_id,
        staging_events.item_in_session,
        staging_events.user_id,
        {{ trimmed("staging_events.song") }} as song,
        {{ trimmed("staging_events.artist") }} as artist,
        staging_events.length,
        staging_events.location,
        staging_events.user_agent
    from staging_events
    inner join shared_timestamps
        on staging_events.start_time = shared_timestamps.start_time
        and staging_events.session_id = shared_timestamps.session_id
        and staging_events.item_in_session = shared_timestamps.item_in_session
    where staging_events.page = 'NextSong'
),

counted as (
    select
        events.*,
        count(*) over (
            partition by start_time, session_id, item_in_session, user_id
        ) as different_events
    from events
)

select *
from counted
where different_events > 1
order by start_time, session_id, item_in_session, user_id
