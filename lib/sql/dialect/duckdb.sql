{# What DuckDB does in its own way. Every engine's file defines the same macros. #}

{#- A timestamp (UTC, milliseconds kept) from milliseconds since 1970. -#}
{% macro from_epoch_ms(ms) -%}
epoch_ms({{ ms }})
{%- endmacro %}

{#- The day of the week, 1 for Monday to 7 for Sunday. -#}
{% macro weekday(at) -%}
cast(isodow({{ at }}) as integer)
{%- endmacro %}

{#- How rows are placed: DuckDB needs no telling. -#}
{% macro table_options(distribute, sort) -%}
{%- endmacro %}

{#- The records of the files :files, one column a field; `fields` gives name and type. -#}
{% macro records(fields) -%}
read_json(
        :files,
        format = 'newline_delimited',
        columns = {
        {%- for name, type in fields.items() %}
            '{{ name }}': '{{ type }}'{{ "," if not loop.last }}
        {%- endfor %}
        }
    )
{%- endmacro %}
{#- The rows of the DataFrame that the statement is run with under this name. -#}
{% macro frame(name) -%}
{{ name }}
{%- endmacro %}
