-- The new files' events, as they are; empty and padded user ids become '' once, here.
insert into staging_events
select
    artist,
    auth,
    first_name,
    gender,
    {{ engine.whole("item_in_session", "integer") }} as item_in_session,
    last_name,
    {{ engine.number("length") }} as length,
    level,
    location,
    method,
    page,
    {{ engine.number("registration") }} as registration,
    {{ engine.whole("session_id") }} as session_id,
    song,
    {{ engine.whole("status", "integer") }} as status,
    {{ engine.event_ms() }} as ts,
    user_agent,
    coalesce({{ trimmed("user_id") }}, '') as user_id,
    {{ engine.event_time() }} as start_time,
    cast(:batch_id as bigint) as batch_id
from {{ engine.records("events", fields) }}
