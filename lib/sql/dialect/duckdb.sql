{# What DuckDB does in its own way. Every engine's file defines the same macros. #}

{#- The day of the week, 1 for Monday to 7 for Sunday. -#}
{% macro weekday(at) -%}
cast(isodow({{ at }}) as integer)
{%- endmacro %}

{#- How rows are placed: DuckDB needs no telling. -#}
{% macro table_options(sort) -%}
{%- endmacro %}

{#- The records of the files :files, one column a field in snake_case; `fields` gives the name, and
    the sort of a number or the most bytes of a text. A value that does not fit is an error. Numbers
    are read as doubles first, since a read of 1.5 as bigint would give 2; all values are looked at
    in one condition, which takes a fifth of the time of one for each. -#}
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
                    {%- for name, sort in fields.items() %}

                    {{ "or " if not loop.first }}{{ unfit(name, sort) }}
                    {%- endfor %}

                    then error('a value of {{ kind }} does not fit its column')
                else true
            end
    ) as records
{%- endmacro %}

{#- A field as its column's type. -#}
{% macro typed(name, sort) -%}
{% set types = {"small": "integer", "whole": "bigint"} -%}
{{ 'cast("' ~ name ~ '" as ' ~ types[sort] ~ ")" if sort in types else '"' ~ name ~ '"' }}
{%- endmacro %}

{#- Whether a field is a text of too many bytes, no finite number, or none that is whole and exact,
    as those below 2^53 are. -#}
{% macro unfit(name, sort) -%}
{% if sort is number -%}
strlen("{{ name }}") > {{ sort }}
{%- elif sort == "number" -%}
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

{#- Numbers as text, each followed by a bar, then texts; NULL as ''. One call: two would copy it all
    once more. -#}
{% macro concatenation(numbers, texts) -%}
concat(
{%- for number in numbers %}

            {{ number }}, '|',
{%- endfor %}
{%- for text in texts %}

            {{ text }}{{ "," if not loop.last }}
{%- endfor %}

        )
{%- endmacro %}

{#- The name of a temporary table, and of no other table that is called the same. -#}
{% macro temporary(table) -%}
temp.{{ table }}
{%- endmacro %}

{#- As many events as one statement moves: what it holds of them, some 300 bytes each, is memory. -#}
{% macro enough_events() -%}
1000000.0
{%- endmacro %}

{#- A CTE that is read in full before it is used: DuckDB reads rows that this transaction has
    inserted with one thread, and what comes after with all. -#}
{% macro held_ready() -%}
materialized
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
