-- The files of this batch, entered in the ledger.
insert into load_files
select
    file_key,
    cast(:kind as varchar(16)) as kind,
    size_bytes,
    content_hash,
    row_count,
    cast(0 as bigint) as reject_count,
    cast(:batch_id as bigint) as batch_id,
    cast(:loaded_at as timestamp) as loaded_at
from {{ engine.frame("files") }}
