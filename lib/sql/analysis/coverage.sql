-- Plays, and plays matched to a song in the catalogue, by day (UTC).
with {{ days() }}

select
    days.day,
    count(songplays.played_at) as plays,
    count(songplays.song_id) as matched,
    days.partial
from days
left join songplays on days.day = cast(songplays.played_at as date)
group by days.day, days.partial
order by days.day
