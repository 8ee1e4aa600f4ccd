-- Star: each key of a dimension stands once.
select 'users' as table_name, cast(user_key as varchar(64)) as key, count(*) as row_count
from users
group by user_key
having count(*) > 1
union all
select 'songs', song_id, count(*) from songs group by song_id having count(*) > 1
union all
select 'artists', artist_id, count(*) from artists group by artist_id having count(*) > 1
union all
select 'time', cast(start_time as varchar(64)), count(*)
from time
group by start_time
having count(*) > 1
