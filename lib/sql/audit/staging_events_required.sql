-- Stage: every event of this load has what the model is built on, a time from EARLIEST to one day
-- from now, one of LEVELS, and no text that is longer than its column.
{% set texts = {
    "artist": 1024, "auth": 64, "first_name": 256, "gender": 16, "last_name": 256, "level": 16,
    "location": 1024, "method": 16, "page": 64, "song": 1024, "user_agent": 1024, "user_id": 64,
} %}
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
        {% for name, bytes in texts.items() %}
        or {{ engine.unfit_text(name, bytes) }}
        {% endfor %}
    )
