-- The artists of this load: of all spellings of one artist, the one with coordinates, then with
-- a location, then on most songs, then the first by name (and by place, so that none is left to
-- chance). Coordinates count only in pairs.
delete from artists
where artist_id in (select artist_id from staging_songs where batch_id >= :first_batch);

insert into artists
with records as (
    select
        artist_id,
        {{ trimmed("artist_name") }} as name,
        nullif({{ trimmed("artist_location") }}, '') as location,
        case when artist_longitude is not null then artist_latitude end as latitude,
        case when artist_latitude is not null then artist_longitude end as longitude
    from staging_songs
    where artist_id in (select artist_id from staging_songs where batch_id >= :first_batch)
),

spellings as (
    select artist_id, name, location, latitude, longitude, count(*) as songs
    from records
    group by artist_id, name, location, latitude, longitude
),

ranked as (
    select
        spellings.*,
        row_number() over (
            partition by artist_id
            order by
                case when latitude is not null then 0 else 1 end,
                case when location is not null then 0 else 1 end,
                songs desc,
                name,
                coalesce(location, ''),
                coalesce(latitude, 0),
                coalesce(longitude, 0)
        ) as position
    from spellings
)

select artist_id, name, location, latitude, longitude
from ranked
where position = 1
