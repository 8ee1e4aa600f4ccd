-- The number that the server knows this connection by.
select pg_backend_pid() as session_id
