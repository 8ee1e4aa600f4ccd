-- Grain: one app event.
select
    ts,
    epoch_ms(ts) as start_time,
    coalesce(trim(both ' ' from "userId"), '') as user_id,
    "firstName" as first_name, "lastName" as last_name, gender, level,
    "sessionId" as session_id, "itemInSession" as item_in_session, page,
    trim(both ' ' from song) as song_title,
    trim(both ' ' from artist) as artist_name,
    coalesce(length, -1) as length,
    location, "userAgent" as user_agent
from {{ var("events") }}
