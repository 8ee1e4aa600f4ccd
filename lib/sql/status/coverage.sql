-- Number of plays, and of those matched to a song of the catalogue.
select count(*) as plays, count(song_id) as matched
from songplays
