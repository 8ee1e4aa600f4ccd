-- How many of these are of one user, and so delivered twice.
select count(*) as events
from (
    select 1 as one
    from staging_events
    inner join shared_moments
        on staging_events.start_time = shared_moments.start_time
        and staging_events.session_id = shared_moments.session_id
        and staging_events.item_in_session = shared_moments.item_in_session
    where staging_events.page = 'NextSong'
    group by
        staging_events.start_time,
        staging_events.session_id,
        staging_events.item_in_session,
        staging_events.user_id
    having count(*) > 1
) as events
