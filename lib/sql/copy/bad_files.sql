-- The files that hold what the last COPY could not read.
select distinct trim(file_name) as file_name
from sys_load_error_detail
where session_id = :session_id and query_id = pg_last_copy_id()
