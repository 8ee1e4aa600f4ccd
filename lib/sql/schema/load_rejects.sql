-- Grain: one bad record that a load left out.
create table if not exists load_rejects (
    file_key varchar(4096) not null,
    line bigint not null,
    field varchar(256) not null,
    reason varchar(1024) not null,
    raw_text varchar(65535),
    batch_id bigint not null
) {{ engine.table_options(sort="batch_id") }}
