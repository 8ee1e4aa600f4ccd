-- Stage: every event of this batch has what the model is built on, in the years 1970 to 2146,
-- beyond which the hour's key is no integer.
select ts, page, level, session_id, item_in_session
from staging_events
where
    batch_id >= :first_batch
    and (
        ts is null
        or ts < 0
        or ts >= 5585587200000
        or page is null
        or level is null
        or session_id is null
        or item_in_session is null
    )
