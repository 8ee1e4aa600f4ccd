-- Grain: one source file that was loaded: the ledger.
create table if not exists load_files (
    file_key varchar(4096) not null,
    kind varchar(16) not null,
    size_bytes bigint not null,
    content_hash varchar(64) not null,
    row_count bigint not null,
    reject_count bigint not null,
    batch_id bigint not null,
    loaded_at timestamp not null,
    device bigint,
    inode bigint,
    mtime_ns bigint,
    ctime_ns bigint
) {{ engine.table_options(sort="batch_id") }}
