-- The new files' events, as they are; empty and padded user ids become '' once, here.
insert into staging_events
select
    artist,
    auth,
    "firstName" as first_name,
    gender,
    {{ engine.whole('"itemInSession"', "integer") }} as item_in_session,
    "lastName" as last_name,
    {{ engine.number("length") }} as length,
    level,
    location,
    method,
    page,
    {{ engine.number("registration") }} as registration,
    {{ engine.whole('"sessionId"') }} as session_id,
    song,
    {{ engine.whole("status", "integer") }} as status,
    {{ engine.whole("ts") }} as ts,
    "userAgent" as user_agent,
    coalesce({{ trimmed('"userId"') }}, '') as user_id,
    {{ engine.from_epoch_ms(engine.whole("ts")) }} as start_time,
    cast(:batch_id as bigint) as batch_id
from {{ engine.records(fields) }}
