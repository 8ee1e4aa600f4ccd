-- An event that was delivered twice is one play: of equal rows, one stays.
drop table if exists doubled_plays;

create temporary table doubled_plays as
select distinct songplays.*
from songplays
inner join shared_timestamps
    on songplays.played_at = shared_timestamps.start_time
    and songplays.session_id = shared_timestamps.session_id
    and songplays.item_in_session = shared_timestamps.item_in_session;

delete from songplays
using shared_timestamps
where
    songplays.played_at = shared_timestamps.start_time
    and songplays.session_id = shared_timestamps.session_id
    and songplays.item_in_session = shared_timestamps.item_in_session;

insert into songplays
select * from doubled_plays
