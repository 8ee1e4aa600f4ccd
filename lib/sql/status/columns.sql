-- Table and name of each column.
select cast(table_name as varchar(128)) as table_name, cast(column_name as varchar(128)) as column_name
from information_schema.columns
where table_schema not in ('information_schema', 'pg_catalog')
