-- What Redshift has and PostgreSQL has not, put in pg_catalog of the template of all databases.

-- As on Redshift, and on PostgreSQL before 15, everybody may create in the schema public.
grant create on schema public to public;

create or replace function pg_catalog.version() returns text language sql stable as $$
    select 'PostgreSQL 8.0.2 on i686-pc-linux-gnu, compiled by GCC gcc (GCC) 3.4.2 20041017 '
        || '(Red Hat 3.4.2-6.fc3), Redshift 1.0.77467'
$$;

-- Other numbers than Redshift's, as different from each other.
create function pg_catalog.fnv_hash(text) returns bigint language sql immutable as $$
    select hashtextextended($1, 0)
$$;

create function pg_catalog.strtol(text, integer) returns bigint language sql immutable as $$
    select ('x' || lpad($1, 16, '0'))::bit(64)::bigint where $2 = 16
$$;

create function pg_catalog.datediff(text, timestamp, timestamp) returns bigint
language sql immutable as $$
    select case $1
        when 'millisecond' then
            floor(extract(epoch from $3) * 1000) - floor(extract(epoch from $2) * 1000)
    end::bigint
$$;

-- What the session's COPY statements leave behind; undone with their transaction, as documented.
create function pg_catalog.pg_last_copy_id() returns integer language sql stable as $$
    select coalesce(nullif(current_setting('standin.copy_id', true), '')::integer, -1)
$$;

-- The facade writes here at every COPY, both outside of its transaction (so that it stays after a
-- rollback) and inside (whose snapshot may be older than the row): hence the DISTINCT below.
create table pg_catalog.standin_loads (
    query_id bigint, user_id integer, transaction_id bigint, session_id integer,
    database_name text, table_id integer, table_name text, data_source text, start_time timestamp,
    end_time timestamp, status text, loaded_rows bigint, loaded_bytes bigint, error_count bigint
);
create table pg_catalog.standin_files (
    query_id bigint, file_name text, bytes bigint, lines bigint
);
create table pg_catalog.standin_rejects (
    query_id bigint, number bigint, file_name text, line_number bigint, column_name text,
    column_type text, column_length text, position integer, error_code integer,
    error_message text, raw_line text, raw_field_value text
);

create view pg_catalog.sys_load_history as
select distinct
    user_id, query_id, transaction_id, session_id, database_name, status, table_name, start_time,
    end_time, (extract(epoch from end_time - start_time) * 1000000)::bigint as duration,
    data_source, 'json'::text as file_format, loaded_rows, loaded_bytes,
    (select count(distinct file_name) from standin_files as f where f.query_id = l.query_id)
        as source_file_count,
    error_count
from standin_loads as l;

create view pg_catalog.sys_load_detail as
select distinct
    l.user_id, l.query_id, f.file_name::char(256) as file_name, f.bytes as bytes_scanned,
    f.lines as lines_scanned, l.end_time as record_time, 1 as splits_scanned, l.start_time,
    l.end_time
from standin_loads as l
inner join standin_files as f using (query_id);

create view pg_catalog.stl_load_commits as
select distinct
    l.user_id as userid, l.query_id::integer as query, 0 as slice, ''::char(256) as name,
    f.file_name::char(256) as filename, 0 as byte_offset, f.lines::integer as lines_scanned,
    0 as errors, l.end_time as curtime, 1 as status, 'json'::char(16) as file_format
from standin_loads as l
inner join standin_files as f using (query_id)
where l.status = 'completed';

create view pg_catalog.standin_errors as
select distinct
    l.user_id, l.query_id, l.transaction_id, l.session_id, l.database_name, l.table_id,
    l.start_time, r.*
from standin_loads as l
inner join (
    select distinct query_id as query, number, file_name, line_number, column_name, column_type,
        column_length, position, error_code, error_message, raw_line, raw_field_value
    from standin_rejects
) as r on r.query = l.query_id;

create view pg_catalog.sys_load_error_detail as
select
    user_id, query_id, transaction_id, session_id, database_name::char(64) as database_name,
    table_id, start_time, file_name::char(256) as file_name, line_number,
    column_name::char(127) as column_name, column_type::char(10) as column_type,
    column_length::char(10) as column_length, position, error_code,
    error_message::char(512) as error_message
from standin_errors;
