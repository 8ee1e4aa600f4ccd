-- What was loaded before: content, batch, and the identity of the file that was read.
select
    file_key,
    content_hash,
    batch_id,
    size_bytes,
    device,
    inode,
    mtime_ns,
    ctime_ns
from load_files
where kind = :kind
