-- The levels that occur in plays.
select distinct level from songplays where level is not null order by level
