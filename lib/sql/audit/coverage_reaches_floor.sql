-- Star: the share of matched plays is not below MIN_COVERAGE.
select count(song_id) as matched, count(*) as plays
from songplays
having cast(count(song_id) as double precision) < :min_coverage * count(*)
