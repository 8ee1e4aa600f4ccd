{# What DuckDB does in its own way. Every engine's file defines the same macros. #}

{#- The day of the week, 1 for Monday to 7 for Sunday. -#}
{% macro weekday(at) -%}
cast(isodow({{ at }}) as integer)
{%- endmacro %}

{#- How rows are placed: DuckDB needs no telling. -#}
{% macro table_options(sort) -%}
{%- endmacro %}

{#- The records of the files :files, one column a field in snake_case; `fields` gives the name, and
    the sort of a number or the most bytes of a text. Numbers are read as doubles and made whole by `whole`, since a read of 1.5 as bigint
    would give 2. -#}
{% macro records(kind, fields) -%}
(
        select
            {%- for name, sort in fields.items() %}

            {{ text(name, sort) if sort is number else '"' ~ name ~ '"' }} as {{ name | snake_case }}{{ "," if not loop.last }}
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
    ) as records
{%- endmacro %}

{#- A text of at most `bytes`; else an error. -#}
{% macro text(name, bytes) -%}
case when strlen("{{ name }}") > {{ bytes }} then error('{{ name }} is too long') else "{{ name }}" end
{%- endmacro %}

{#- A field of `records` as a whole number, exact below 2^53; else an error. -#}
{% macro whole(field, type="bigint") -%}
cast(
        case
            when {{ field }} is null then null
            when {{ field }} = floor({{ field }}) and abs({{ field }}) < 9007199254740992
                then {{ field }}
            else error('{{ field }} is not a whole number')
        end as {{ type }}
    )
{%- endmacro %}

{#- A field of `records` as a finite number; else an error. -#}
{% macro number(field) -%}
case
        when {{ field }} is null or isfinite({{ field }}) then {{ field }}
        else error('{{ field }} is not a number')
    end
{%- endmacro %}

{#- When an event was: a timestamp (UTC, milliseconds kept). -#}
{% macro event_time() -%}
epoch_ms({{ whole("ts") }})
{%- endmacro %}

{#- The same as milliseconds since 1970. -#}
{% macro event_ms() -%}
{{ whole("ts") }}
{%- endmacro %}

{#- The milliseconds from one timestamp to another. -#}
{% macro milliseconds(since, until) -%}
date_diff('millisecond', {{ since }}, {{ until }})
{%- endmacro %}

{#- The parts as text, one after the other, each followed by `end`; NULL as ''. -#}
{% macro concatenation(parts, end) -%}
concat(
{%- for part in parts %}

            {{ part }}{{ ", '" ~ end ~ "'" if end }}{{ "," if not loop.last }}
{%- endfor %}

        )
{%- endmacro %}

{#- The name of a temporary table, and of no other table that is called the same. -#}
{% macro temporary(table) -%}
temp.{{ table }}
{%- endmacro %}
