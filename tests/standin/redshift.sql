-- What Redshift has and PostgreSQL has not, put in pg_catalog of the template of all databases.

create role dwh_admin superuser login;

-- As on Redshift, and on PostgreSQL before 15, everybody may create in the schema public.
grant create on schema public to public;

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
create table pg_catalog.standin_files (query_id bigint, file_name text, lines bigint);
create table pg_catalog.standin_rejects (
    query_id bigint, session_id integer, number bigint, file_name text, line_number bigint,
    column_name text, column_type text, error_code integer, error_message text
);

create view pg_catalog.stl_load_commits as
select distinct
    query_id::integer as query, file_name::char(256) as filename, lines::integer as lines_scanned
from standin_files;

create view pg_catalog.sys_load_error_detail as
select
    query_id, session_id, file_name::char(256) as file_name, line_number,
    column_name::char(127) as column_name, column_type::char(10) as column_type, error_code,
    error_message::char(512) as error_message
from (select distinct * from standin_rejects) as rejects;
