-- One row per play with all that is known of it, for tools that open one table: every row of
-- songplays, with what it names in the other tables. Nothing drops a play or makes two of one.
create or replace view plays as
select
    cast({{ engine.milliseconds("cast('1970-01-01' as timestamp)", "songplays.played_at") }} as varchar(20))
        || '|' || cast(songplays.session_id as varchar(20))
        || '|' || cast(songplays.item_in_session as varchar(20))
        || '|' || coalesce(users.user_id, '') as songplay_key,
    songplays.played_at,
    time.year,
    time.month,
    time.week,
    time.day,
    time.weekday,
    time.hour,
    users.user_id,
    users.first_name,
    users.last_name,
    users.gender,
    songplays.level as level_when_played,
    latest.level as level_now,
    songplays.session_id,
    songplays.item_in_session,
    songplays.location as listener_location,
    songplays.user_agent,
    songplays.song_title,
    songplays.artist_name,
    songplays.song_id is not null as is_matched,
    songplays.song_id,
    songs.year as song_year,
    songs.duration as song_duration,
    songplays.artist_id,
    artists.name as artist_catalogue_name,
    artists.location as artist_location,
    artists.latitude as artist_latitude,
    artists.longitude as artist_longitude
from songplays
left join time on songplays.start_time = time.start_time
left join users on songplays.user_key = users.user_key
left join users as latest
    on users.user_id = latest.user_id
    and latest.is_current
left join songs on songplays.song_id = songs.song_id
left join artists on songplays.artist_id = artists.artist_id
