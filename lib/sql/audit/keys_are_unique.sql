-- Star: each table's key stands once; of the plays, those of this load's time.
select 'songplays' as table_name, songplay_key as key, count(*) as row_count
from songplays
where {{ in_time_of_load("played_at") }}
group by songplay_key
having count(*) > 1
union all
select 'users', user_key, count(*) from users group by user_key having count(*) > 1
union all
select 'songs', song_id, count(*) from songs group by song_id having count(*) > 1
union all
select 'artists', artist_id, count(*) from artists group by artist_id having count(*) > 1
union all
select 'time', cast(start_time as varchar), count(*)
from time
group by start_time
having count(*) > 1
