{# What the statements share, the same on every engine. #}

{#- The hour of a timestamp as an integer, YYYYMMDDHH: the key of `time`. -#}
{% macro hour_key(at) -%}
(cast(extract(year from {{ at }}) as integer) * 1000000
        + cast(extract(month from {{ at }}) as integer) * 10000
        + cast(extract(day from {{ at }}) as integer) * 100
        + cast(extract(hour from {{ at }}) as integer))
{%- endmacro %}

{#- Whether a user's version is in force at a moment: half-open, the last one without an end. -#}
{% macro in_force(version, moment) -%}
{{ moment }} >= {{ version }}.valid_from
    and {{ moment }} < coalesce({{ version }}.valid_to, cast('9999-12-31' as timestamp))
{%- endmacro %}

{#- A text without the spaces around it; only spaces, so that every engine agrees. -#}
{% macro trimmed(text) -%}
trim(both ' ' from {{ text }})
{%- endmacro %}

{#- A length in seconds as a whole number of hundredths of a millisecond, exact on every engine. -#}
{% macro exact_length(seconds) -%}
case
        when {{ seconds }} is not null  -- greatest() and least() pass over NULL
            then cast(floor(least(greatest({{ seconds }}, -1e9), 1e9) * 1e5 + 0.5) as bigint)
    end
{%- endmacro %}

{#- The same to join on: a length that is not known equals itself. -#}
{% macro length_key(seconds) -%}
coalesce({{ exact_length(seconds) }}, 1000000000000000)
{%- endmacro %}

{#- A key that depends on nothing but the row's own values: whole numbers, then texts. The texts'
    lengths go before them, so that no two different rows are spelled alike, NULL and '' apart. -#}
{% macro stable_key(numbers, texts) -%}
{% set parts = numbers | list -%}
{% for text in texts %}{% set _ = parts.append("length(" ~ text ~ ")") %}{% endfor -%}
md5({{ engine.concatenation(parts, "|") }} || {{ engine.concatenation(texts, "") }})
{%- endmacro %}

{#- The key of a play: everything that the row takes from its event, and the length that its
    match depends on. Two events that are equal in all of it are one event, delivered twice. -#}
{% macro songplay_key() -%}
{{ stable_key(
    ["ts", "session_id", "item_in_session", exact_length("length")],
    ["user_id", trimmed("song"), trimmed("artist"), "location", "user_agent"],
) }}
{%- endmacro %}

{#- A relation `number` of the whole numbers from `first` to `last`. -#}
{% macro numbers(first, last) -%}
select cast({{ first }} as integer) as number
    {%- for number in range(first + 1, last + 1) %} union all select {{ number }}{% endfor %}
{%- endmacro %}

{#- The recursive CTE `days`, one row for each day from the first to the last event (UTC), so that
    a day without plays is a zero and not a gap. -#}
{% macro days() -%}
bounds as (
    select
        cast(min(start_time) as date) as first_day,
        cast(max(start_time) as date) as last_day
    from staging_events
),

days(day) as (
    select first_day as day from bounds where first_day is not null
    union all
    select cast(day + 1 as date) as day from days where day < (select last_day from bounds)
)
{%- endmacro %}

{#- Whether a time's hour lies within those of this load's events. -#}
{% macro in_hours_of_load(hour) -%}
{{ hour }} >= (
        select min({{ hour_key("start_time") }}) from staging_events where batch_id >= :first_batch
    )
    and {{ hour }} <= (
        select max({{ hour_key("start_time") }}) from staging_events where batch_id >= :first_batch
    )
{%- endmacro %}

{#- The plays that a load may have changed: those of its hours, of its users, of its songs. -#}
{% macro plays_of_load() -%}
(
        select songplay_key, start_time, played_at, user_key, level, song_id, artist_id
        from songplays
        where
            ({{ in_hours_of_load("songplays.start_time") }})
            or user_key in (
                select users.user_key
                from users
                where users.user_id in (
                    select user_id from staging_events where batch_id >= :first_batch
                )
            )
            or song_id in (select song_id from staging_songs where batch_id >= :first_batch)
    )
{%- endmacro %}
