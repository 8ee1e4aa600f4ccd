-- The new files' events, as they are; the spaces around levels and user ids go, and no user id
-- becomes '', once, here.
insert into staging_events
select
    artist,
    auth,
    first_name,
    gender,
    item_in_session,
    last_name,
    length,
    {{ trimmed("level") }} as level,
    location,
    method,
    page,
    registration,
    session_id,
    song,
    status,
    {{ engine.event_ms() }} as ts,
    user_agent,
    coalesce({{ trimmed("user_id") }}, '') as user_id,
    {{ engine.event_time() }} as start_time,
    cast(:batch_id as bigint) as batch_id
from {{ engine.records("events", fields) }}
