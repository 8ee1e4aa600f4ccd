-- The most played songs, matched or not, over plays of :level ('' for all), of those with at least :least listeners.
-- `left_out`: how many songs have fewer.
with {{ listeners() }},

songs as (
    select
        songplays.song_title,
        songplays.artist_name,
        count(*) as plays,
        count(distinct listeners.listener) as listeners,
        count(songplays.song_id) as matched
    from songplays
    left join listeners on songplays.user_key = listeners.user_key
    where songplays.song_title is not null and {{ of_level() }}
    group by songplays.song_title, songplays.artist_name
)

select
    song_title,
    artist_name,
    plays,
    listeners,
    matched,
    {{ ratio("matched", "plays") }} as matched_share,
    (select count(*) from songs where listeners < :least) as left_out
from songs
where listeners >= :least
order by plays desc, song_title, artist_name
limit :top
