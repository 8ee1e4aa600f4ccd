-- The most played songs over all plays, matched or not.
select song_title, artist_name, count(*) as plays
from songplays
where song_title is not null
group by song_title, artist_name
order by plays desc, song_title, artist_name
limit :top
