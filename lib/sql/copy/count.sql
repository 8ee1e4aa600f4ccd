-- The rows that the last COPY loaded.
select pg_last_copy_count() as row_count
