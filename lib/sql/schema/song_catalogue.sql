-- One record per song, with the artist's name as that record has it: what plays are matched
-- against. Of several records for one song, the one with a known year, then the first by text.
create or replace view song_catalogue as
with ranked as (
    select
        song_id,
        artist_id,
        {{ trimmed("title") }} as title,
        {{ trimmed("artist_name") }} as artist_name,
        nullif(year, 0) as year,
        duration,
        row_number() over (
            partition by song_id
            order by
                case when year > 0 then 0 else 1 end,
                {{ trimmed("title") }},
                {{ trimmed("artist_name") }},
                artist_id,
                year,
                case when duration is null then 1 else 0 end,
                duration
        ) as position
    from staging_songs
)
select song_id, artist_id, title, artist_name, year, duration
from ranked
where position = 1
