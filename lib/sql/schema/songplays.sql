-- Grain: one NextSong event, every one of them; known by played_at, user, session_id and
-- item_in_session.
create table if not exists songplays (
    start_time integer not null,
    played_at timestamp not null,
    user_key bigint,
    level varchar(16),
    song_id varchar(64),
    artist_id varchar(64),
    session_id bigint,
    item_in_session integer,
    song_title varchar(1024),
    artist_name varchar(1024),
    location varchar(1024),
    user_agent varchar(1024)
) {{ engine.table_options(sort="played_at") }}
