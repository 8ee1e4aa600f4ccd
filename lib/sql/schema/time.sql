-- Grain: one hour that has an event.
create table if not exists time (
    start_time integer not null,
    hour integer not null,
    day integer not null,
    week integer not null,
    month integer not null,
    year integer not null,
    weekday integer not null
) {{ engine.table_options(sort="start_time") }}
