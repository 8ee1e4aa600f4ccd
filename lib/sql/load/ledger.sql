-- What was loaded before.
select file_key, content_hash from load_files where kind = :kind
