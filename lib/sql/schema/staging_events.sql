-- Grain: one app event, as the log has it; only `start_time` is computed, here and never again.
create table if not exists staging_events (
    artist varchar(1024),
    auth varchar(64),
    first_name varchar(256),
    gender varchar(16),
    item_in_session integer not null,
    last_name varchar(256),
    length double precision,
    level varchar(16) not null,
    location varchar(1024),
    method varchar(16),
    page varchar(64) not null,
    registration double precision,
    session_id bigint not null,
    song varchar(1024),
    status integer,
    ts bigint,
    user_agent varchar(1024),
    user_id varchar(64),
    start_time timestamp not null,
    batch_id bigint
) {{ engine.table_options(sort="start_time") }}
