-- The files of the last COPY, and how many records it read from each.
select trim(filename) as filename, cast(sum(lines_scanned) as bigint) as row_count
from stl_load_commits
where query = pg_last_copy_id()
group by trim(filename)
