-- What COPY could not read in the latest failed load of this connection.
select
    trim(file_name) as file_name,
    line_number,
    trim(column_name) as column_name,
    trim(column_type) as column_type,
    error_code,
    trim(error_message) as error_message
from sys_load_error_detail
where
    session_id = :session_id
    and query_id = (select max(query_id) from sys_load_error_detail where session_id = :session_id)
order by file_name, line_number
limit 20
