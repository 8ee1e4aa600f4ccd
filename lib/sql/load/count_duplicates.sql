-- How many plays of these timestamps are of one user, and so were delivered twice.
select count(*) as events
from (
    select 1 as one
    from staging_events
    inner join shared_timestamps
        on staging_events.start_time = shared_timestamps.start_time
        and staging_events.session_id = shared_timestamps.session_id
        and staging_events.item_in_session = shared_timestamps.item_in_session
    where staging_events.page = 'NextSong'
    group by
        staging_events.start_time,
        staging_events.session_id,
        staging_events.item_in_session,
        staging_events.user_id
    having count(*) > 1
) as events
