-- The new files' events, as they are; empty and padded user ids become '' once, here.
insert into staging_events
select
    artist,
    auth,
    "firstName" as first_name,
    gender,
    cast("itemInSession" as integer) as item_in_session,
    "lastName" as last_name,
    length,
    level,
    location,
    method,
    page,
    registration,
    "sessionId" as session_id,
    song,
    status,
    ts,
    "userAgent" as user_agent,
    trim(coalesce("userId", '')) as user_id,
    {{ engine.from_epoch_ms("ts") }} as start_time,
    cast(:batch_id as bigint) as batch_id
from {{ engine.records(fields) }}
