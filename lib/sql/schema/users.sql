-- Grain: one version of a user, type 2 on `level`; names and gender are the latest known.
create table if not exists users (
    user_key bigint not null,
    user_id varchar(64) not null,
    first_name varchar(256),
    last_name varchar(256),
    gender varchar(16),
    level varchar(16) not null,
    valid_from timestamp not null,
    valid_to timestamp,
    is_current boolean not null
) {{ engine.table_options(sort="user_id, valid_from") }}
