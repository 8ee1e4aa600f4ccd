{# What DuckDB does in its own way. Every engine's file defines the same macros. #}

{#- The day of the week, 1 for Monday to 7 for Sunday. -#}
{% macro weekday(at) -%}
cast(isodow({{ at }}) as integer)
{%- endmacro %}

{#- How rows are placed: DuckDB needs no telling. -#}
{% macro table_options(sort) -%}
{%- endmacro %}

{#- The records of the files :files, one on each line, as one column a field in snake_case; `fields`
    gives the name, and the sort of a number or the most bytes of a text. Numbers are read as
    doubles first, since a read of 1.5 as bigint would give 2; one that does not fit its column is an
    error. Texts are looked at by an audit, after they are staged. -#}
{% macro records(kind, fields) -%}
(
        select
            {%- for name, sort in fields.items() %}

            {{ typed(name, sort) }} as {{ name | snake_case }}{{ "," if not loop.last }}
            {%- endfor %}

        from read_json(
            :files,
            format = 'newline_delimited',
            hive_partitioning = false,
            columns = {
            {%- for name, sort in fields.items() %}

                '{{ name }}': '{{ "varchar" if sort is number else "double" }}'{{ "," if not loop.last }}
            {%- endfor %}

            }
        )
        where
            case
                when
                    {%- for name, sort in fields.items() if sort is not number %}

                    {{ "or " if not loop.first }}{{ unfit_number(name, sort) }}
                    {%- endfor %}

                    then error('a number of {{ kind }} does not fit its column')
                else true
            end
    ) as records
{%- endmacro %}

{#- A field as its column's type. -#}
{% macro typed(name, sort) -%}
{% set types = {"small": "integer", "whole": "bigint"} -%}
{{ 'cast("' ~ name ~ '" as ' ~ types[sort] ~ ")" if sort in types else '"' ~ name ~ '"' }}
{%- endmacro %}

{#- Whether a field is no finite number, or none that is whole and exact, as those below 2^53 are. -#}
{% macro unfit_number(name, sort) -%}
{% if sort == "number" -%}
not isfinite("{{ name }}")
{%- else -%}
"{{ name }}" <> floor("{{ name }}") or abs("{{ name }}") >= 9007199254740992
{%- endif %}
{%- endmacro %}

{#- When an event was: a timestamp (UTC, milliseconds kept). -#}
{% macro event_time() -%}
epoch_ms(ts)
{%- endmacro %}

{#- The same as milliseconds since 1970. -#}
{% macro event_ms() -%}
ts
{%- endmacro %}

{#- Whether two values are the same, or neither is known. -#}
{% macro alike(one, other) -%}
{{ one }} is not distinct from {{ other }}
{%- endmacro %}

{#- The milliseconds from one timestamp to another. -#}
{% macro milliseconds(since, until) -%}
date_diff('millisecond', {{ since }}, {{ until }})
{%- endmacro %}

{#- A number that tells a text from others: of 64 bits, so that among a million texts two have the
    same with a chance of 3 in 10^8. Where equal texts are to be found, numbers are sorted instead. -#}
{% macro text_number(text) -%}
hash({{ text }})
{%- endmacro %}

{#- The first 60 bits of a text's MD5, as a whole number: the same on every engine. -#}
{% macro hash_key(text) -%}
cast('0x' || substring(md5({{ text }}), 1, 15) as bigint)
{%- endmacro %}

{#- Whether a staged text does not fit its column, or holds NUL. -#}
{% macro unfit_text(column, bytes) -%}
strlen({{ column }}) > {{ bytes }} or contains({{ column }}, chr(0))
{%- endmacro %}

{#- The name of a temporary table, and of no other table that is called the same. -#}
{% macro temporary(table) -%}
temp.{{ table }}
{%- endmacro %}

{#- What is in the database besides DuckDB's own: kind, schema and name. -#}
{% macro user_objects() -%}
(
    select 'table' as kind, schema_name, table_name as object_name, database_name, internal
    from duckdb_tables()
    union all
    select 'view', schema_name, view_name, database_name, internal from duckdb_views()
    union all
    select 'sequence', schema_name, sequence_name, database_name, false from duckdb_sequences()
    union all
    select 'macro', schema_name, function_name, database_name, internal from duckdb_functions()
    union all
    select 'type', schema_name, type_name, database_name, internal from duckdb_types()
) as objects
where database_name = current_database() and not internal
{%- endmacro %}
