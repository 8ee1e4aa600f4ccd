-- Grain: one object of a song file.
create table if not exists staging_songs (
    artist_id varchar(64),
    artist_latitude double precision,
    artist_location varchar(1024),
    artist_longitude double precision,
    artist_name varchar(1024),
    duration double precision,
    num_songs integer,
    song_id varchar(64),
    title varchar(1024),
    year integer,
    batch_id bigint
) {{ engine.table_options(sort="") }}
