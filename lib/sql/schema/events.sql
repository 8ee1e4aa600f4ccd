-- One app event, however often it was delivered: staging_events without rows that are equal in all
-- but the load that brought them. Only the few events that share time, session and item with another
-- one are compared in every column. Without a CTE, so that a question reads no column but its own.
{% set columns = [
    "artist", "auth", "first_name", "gender", "item_in_session", "last_name", "length", "level",
    "location", "method", "page", "registration", "session_id", "song", "status", "ts",
    "user_agent", "user_id", "start_time",
] %}
{% set event = "staging_events." ~ columns | join(",\n    staging_events.") %}
{% set shared %}
(
    select start_time, session_id, item_in_session
    from staging_events
    group by start_time, session_id, item_in_session
    having count(*) > 1
) as shared
    on staging_events.start_time = shared.start_time
    and staging_events.session_id = shared.session_id
    and staging_events.item_in_session = shared.item_in_session
{% endset %}
create or replace view events as
select
    {{ event }}
from staging_events
left join {{ shared }}
where shared.start_time is null
union all
select distinct
    {{ event }}
from staging_events
inner join {{ shared }}
