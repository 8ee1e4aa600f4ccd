-- What was loaded, by kind of file, and when last.
select
    kind,
    count(*) as files,
    cast(sum(size_bytes) as bigint) as size_bytes,
    cast(sum(row_count) as bigint) as row_count,
    cast(sum(reject_count) as bigint) as reject_count,
    max(batch_id) as batch_id,
    max(loaded_at) as loaded_at
from load_files
group by kind
order by kind
