-- What was loaded before, and with which batch.
select file_key, content_hash, batch_id from load_files where kind = :kind
