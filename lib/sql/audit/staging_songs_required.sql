-- Stage: every song of this batch has what the model is built on.
select song_id, title, artist_id, artist_name
from staging_songs
where
    batch_id >= :first_batch
    and (song_id is null or title is null or artist_id is null or artist_name is null)
