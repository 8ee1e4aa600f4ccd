-- Name and type of each table and view of the schema that holds this project's tables.
select cast(table_name as varchar(128)) as table_name, cast(table_type as varchar(16)) as table_type
from information_schema.tables
where table_catalog = current_database() and table_schema = current_schema()
order by table_name
