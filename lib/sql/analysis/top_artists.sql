-- The most played artists, matched or not, over plays of :level ('' for all), of those with at least :least listeners.
-- `left_out`: how many artists have fewer.
with {{ listeners() }},

artists_played as (
    select
        songplays.artist_name,
        count(*) as plays,
        count(distinct listeners.listener) as listeners,
        count(songplays.artist_id) as matched
    from songplays
    left join listeners on songplays.user_key = listeners.user_key
    where songplays.artist_name is not null and {{ of_level() }}
    group by songplays.artist_name
)

select
    artist_name,
    plays,
    listeners,
    matched,
    {{ ratio("matched", "plays") }} as matched_share,
    (select count(*) from artists_played where listeners < :least) as left_out
from artists_played
where listeners >= :least
order by plays desc, artist_name
limit :top
