-- By week (its Monday, UTC): plays of a song that the user had played before, against first plays,
-- and artists whom a listener played for the first time. What came before the data is not known,
-- so that the first weeks look newer than they were. Plays without a user or title are left out.
with recursive {{ weeks() }},

plays as (
    select
        users.user_id,
        {{ week_of("songplays.played_at") }} as week,
        row_number() over (
            partition by users.user_id, songplays.song_title, songplays.artist_name
            order by songplays.played_at, songplays.songplay_key
        ) as play_of_song,
        row_number() over (
            partition by users.user_id, songplays.artist_name
            order by songplays.played_at, songplays.songplay_key
        ) as play_of_artist
    from songplays
    inner join users on songplays.user_key = users.user_key
    where songplays.song_title is not null and songplays.artist_name is not null
),

counted as (
    select
        weeks.week,
        weeks.complete,
        count(plays.user_id) as plays,
        count(case when plays.play_of_song > 1 then 1 end) as repeats,
        count(distinct plays.user_id) as listeners,
        count(case when plays.play_of_artist = 1 then 1 end) as new_artists
    from weeks
    left join plays on weeks.week = plays.week
    group by weeks.week, weeks.complete
)

select
    week,
    plays,
    plays - repeats as first_plays,
    repeats,
    {{ ratio("repeats", "plays") }} as repeat_share,
    listeners,
    new_artists,
    {{ ratio("new_artists", "listeners") }} as new_artists_per_listener,
    complete
from counted
order by week
