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

{#- The records of the files :files, one column a field; `fields` gives name and sort. Numbers are
    read as doubles and made whole by `whole`, since a read of 1.5 as bigint would give 2. -#}
{% macro records(fields) -%}
read_json(
        :files,
        format = 'newline_delimited',
        hive_partitioning = false,
        columns = {
        {%- for name, sort in fields.items() %}

            '{{ name }}': '{{ "varchar" if sort == "text" else "double" }}'{{ "," if not loop.last }}
        {%- endfor %}

        }
    )
{%- endmacro %}

{#- A field of `records` as a whole number, exact up to 2^53; else an error. -#}
{% macro whole(field, type="bigint") -%}
cast(
        case
            when {{ field }} is null then null
            when {{ field }} = floor({{ field }}) and abs({{ field }}) <= 9007199254740992
                then {{ field }}
            else error('{{ field | replace('"', "") }} is not a whole number')
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

{#- The rows of the DataFrame that the statement is run with under this name. -#}
{% macro frame(name) -%}
{{ name }}
{%- endmacro %}

{#- The parts as text, one after the other, each followed by `end`; NULL as ''. -#}
{% macro concatenation(parts, end) -%}
concat(
{%- for part in parts %}

            {{ part }}{{ ", '" ~ end ~ "'" if end }}{{ "," if not loop.last }}
{%- endfor %}

        )
{%- endmacro %}
