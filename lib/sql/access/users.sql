-- The database's users.
select cast(usename as varchar(128)) as user_name from pg_user
