-- The songs of this load, each from its catalogue record.
delete from songs
where song_id in (select song_id from staging_songs where batch_id >= :first_batch);

insert into songs
select song_id, title, artist_id, year, duration
from song_catalogue
where song_id in (select song_id from staging_songs where batch_id >= :first_batch)
