-- Grain: one song.
create table if not exists songs (
    song_id varchar(64) not null,
    title varchar(1024),
    artist_id varchar(64),
    year integer,
    duration double precision
) {{ engine.table_options(sort="song_id") }}
