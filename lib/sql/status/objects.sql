-- Every object that somebody created in the database, in any schema: kind, schema and name.
select kind, schema_name, object_name
from {{ engine.user_objects() }}
order by schema_name, kind, object_name
