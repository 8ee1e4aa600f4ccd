-- The first and the last event of this load; NULL when it brought none.
select min(start_time) as since, max(start_time) as until
from staging_events
where batch_id >= :first_batch
