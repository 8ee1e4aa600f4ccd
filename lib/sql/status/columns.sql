-- Table and name of each column where this project has its own.
select cast(table_name as varchar(128)) as table_name, cast(column_name as varchar(128)) as column_name
from information_schema.columns
where table_catalog = current_database() and table_schema = current_schema()
