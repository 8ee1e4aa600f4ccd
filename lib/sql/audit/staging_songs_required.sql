-- Stage: every song of this load has what the model is built on, and no text that is longer than its
-- column.
{% set texts = {
    "artist_id": 64, "artist_location": 1024, "artist_name": 1024, "song_id": 64, "title": 1024,
} %}
select song_id, title, artist_id, artist_name
from staging_songs
where
    batch_id >= :first_batch
    and (
        song_id is null
        or title is null
        or artist_id is null
        or artist_name is null
        {% for name, bytes in texts.items() %}
        or {{ engine.unfit_text(name, bytes) }}
        {% endfor %}
    )
