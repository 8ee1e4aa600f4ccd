-- Stage: every event of this batch has what the model is built on, a time from EARLIEST to one day
-- from now, and one of LEVELS.
select ts, page, level, session_id, item_in_session
from staging_events
where
    batch_id >= :first_batch
    and (
        ts is null
        or ts < :earliest_ms
        or ts >= :latest_ms
        or page is null
        or level is null
        or level not in (
            {%- for level in levels %}{{ level | literal }}{{ ", " if not loop.last }}{% endfor %})
        or session_id is null
        or item_in_session is null
    )
