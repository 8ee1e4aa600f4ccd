{# What Redshift does in its own way. Every engine's file defines the same macros. #}

{#- The day of the week, 1 for Monday to 7 for Sunday; Redshift counts from 0 for Sunday. -#}
{% macro weekday(at) -%}
cast((cast(extract(dow from {{ at }}) as integer) + 6) % 7 + 1 as integer)
{%- endmacro %}

{#- How rows are placed. Distribution is AUTO, as AWS recommends: small dimensions go to every
    node and grow out of it by themselves; no fixed key would do, since a play's song is mostly NULL
    and its user is few. Sorted by what questions are limited to, which is time. -#}
{% macro table_options(sort) -%}
diststyle auto{% if sort %} sortkey({{ sort }}){% endif %}
{%- endmacro %}

{#- The records that COPY has brought in; it has read each value as its column's type already. -#}
{% macro records(kind, fields) -%}
landed_{{ kind }}
{%- endmacro %}

{#- When an event was: COPY reads milliseconds since 1970 as a timestamp. -#}
{% macro event_time() -%}
start_time
{%- endmacro %}

{#- The same as milliseconds since 1970. -#}
{% macro event_ms() -%}
{{ milliseconds("cast('1970-01-01' as timestamp)", "start_time") }}
{%- endmacro %}

{#- Whether two values are the same, or neither is known. -#}
{% macro alike(one, other) -%}
({{ one }} = {{ other }} or ({{ one }} is null and {{ other }} is null))
{%- endmacro %}

{#- The milliseconds from one timestamp to another. -#}
{% macro milliseconds(since, until) -%}
datediff(millisecond, {{ since }}, {{ until }})
{%- endmacro %}

{#- A number of 64 bits that tells a text from others (AWS, "FNV_HASH function"). -#}
{% macro text_number(text) -%}
fnv_hash({{ text }})
{%- endmacro %}

{#- The first 60 bits of a text's MD5, as a whole number: the same on every engine. -#}
{% macro hash_key(text) -%}
strtol(substring(md5({{ text }}), 1, 15), 16)
{%- endmacro %}

{#- Whether a staged text does not fit its column, or holds NUL: COPY lets no such text in. -#}
{% macro unfit_text(column, bytes) -%}
1 = 0
{%- endmacro %}

{#- The name of a temporary table, and of no other table that is called the same. -#}
{% macro temporary(table) -%}
{{ table }}
{%- endmacro %}

{#- What is in the database besides Redshift's own, which the user with the number 1 has made: kind,
    schema and name. -#}
{% macro user_objects() -%}
(
    select
        cast(case relkind when 'v' then 'view' else 'table' end as varchar(16)) as kind,
        cast(nspname as varchar(128)) as schema_name,
        cast(relname as varchar(128)) as object_name
    from pg_class
    inner join pg_namespace on pg_class.relnamespace = pg_namespace.oid
    where relkind in ('r', 'v') and relowner <> 1
    union all
    select
        cast('function' as varchar(16)),
        cast(nspname as varchar(128)),
        cast(proname as varchar(128))
    from pg_proc
    inner join pg_namespace on pg_proc.pronamespace = pg_namespace.oid
    where proowner <> 1
) as objects
where substring(schema_name, 1, 3) <> 'pg_' and schema_name <> 'information_schema'
{%- endmacro %}
