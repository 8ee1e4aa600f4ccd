-- Each column of the schema that holds this project's tables, and whether it may be NULL: YES or NO.
select
    cast(table_name as varchar(128)) as table_name,
    cast(column_name as varchar(128)) as column_name,
    cast(is_nullable as varchar(3)) as is_nullable
from information_schema.columns
where table_catalog = current_database() and table_schema = current_schema()
