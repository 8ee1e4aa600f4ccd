-- The most played artists over all plays, matched or not.
select songplays.artist_name, count(*) as plays, count(distinct users.user_id) as listeners
from songplays
left join users on songplays.user_key = users.user_key
where songplays.artist_name is not null
group by songplays.artist_name
order by plays desc, songplays.artist_name
limit :top
