-- What was loaded before: content, batch, size and when.
select file_key, content_hash, batch_id, size_bytes, loaded_at from load_files where kind = :kind
