-- Stage: every event of this batch has what the model is built on.
select ts, page, level, session_id, item_in_session
from staging_events
where
    batch_id = :batch_id
    and (
        ts is null
        or page is null
        or level is null
        or session_id is null
        or item_in_session is null
    )
