-- An event that was delivered twice is one play: of rows with one key, all alike, one stays.
drop table if exists doubled_plays;

create temporary table doubled_plays as
with keys as {{ engine.held_ready() }} (
    select songplay_key
    from songplays
    where {{ in_time_of_load("played_at") }}
)

select distinct *
from songplays
where songplay_key in (
    select songplay_key
    from keys
    group by songplay_key
    having count(*) > 1
);

delete from songplays
where songplay_key in (select songplay_key from doubled_plays);

insert into songplays
select * from doubled_plays
