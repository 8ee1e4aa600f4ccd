-- The levels that plays are of.
select distinct level from songplays where level is not null order by level
