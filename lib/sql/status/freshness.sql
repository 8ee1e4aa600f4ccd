-- Time of the first and of the last event.
select min(start_time) as first_event, max(start_time) as last_event
from staging_events
