-- An event that was delivered twice is one play: of equal rows, one stays.
drop table if exists doubled_plays;

create temporary table doubled_plays as
select distinct songplays.*
from songplays
inner join shared_moments
    on songplays.played_at = shared_moments.start_time
    and songplays.session_id = shared_moments.session_id
    and songplays.item_in_session = shared_moments.item_in_session;

delete from songplays
using shared_moments
where
    songplays.played_at = shared_moments.start_time
    and songplays.session_id = shared_moments.session_id
    and songplays.item_in_session = shared_moments.item_in_session;

insert into songplays
select * from doubled_plays
