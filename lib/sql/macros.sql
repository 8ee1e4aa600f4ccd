{# What the statements share, the same on every engine. #}

{#- The hour of a timestamp as an integer, YYYYMMDDHH: the key of `time`. -#}
{% macro hour_key(at) -%}
(cast(extract(year from {{ at }}) as integer) * 1000000
        + cast(extract(month from {{ at }}) as integer) * 10000
        + cast(extract(day from {{ at }}) as integer) * 100
        + cast(extract(hour from {{ at }}) as integer))
{%- endmacro %}

{#- The moment at which the hour of such a key began. -#}
{% macro hour_began(key) -%}
{% set text = "cast(" ~ key ~ " as varchar)" -%}
cast(substring({{ text }}, 1, 4) || '-' || substring({{ text }}, 5, 2)
        || '-' || substring({{ text }}, 7, 2) || ' ' || substring({{ text }}, 9, 2)
        || ':00:00' as timestamp)
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

{#- The key of a user's version: of its start, its level and its user, and of nothing else. The
    level's length goes before it, so that no two versions are spelled alike. -#}
{% macro user_key(version) -%}
{{ engine.hash_key(
        "cast(" ~ version ~ ".ts as varchar(20)) || '|' || cast(length(" ~ version ~ ".level) as varchar(20)) || '|' || "
        ~ version ~ ".level || " ~ version ~ ".user_id"
    ) }}
{%- endmacro %}

{#- A relation `number` of the whole numbers from `first` to `last`. -#}
{% macro numbers(first, last) -%}
select cast({{ first }} as integer) as number
    {%- for number in range(first + 1, last + 1) %} union all select {{ number }}{% endfor %}
{%- endmacro %}

{#- The Monday (UTC) of the week of a day or of a moment. -#}
{% macro week_of(at) -%}
cast(date_trunc('week', cast({{ at }} as timestamp)) as date)
{%- endmacro %}

{#- CTEs that say what the data covers, by days (UTC). `days` has a row for each from the first
    event to the last, so that a day without plays is a zero and not a gap; but where more than 31
    days in a row have no event at all, nothing was delivered, and they are left out. The first is
    `partial`, and covered from `first_hour` on, when more hours without an event go before its
    first one than ever follow one another within the data; the last likewise. -#}
{% macro days() -%}
{% set outage = 31 -%}
busy as (
    select
        hour,
        {{ engine.milliseconds("lag(hour) over (order by hour)", "hour") }} / 3600000 - 1 as quiet
    from (select {{ hour_began("start_time") }} as hour from time) as hours
),

quiet as (
    select
        min(hour) as first_event,
        max(hour) as last_event,
        coalesce(max(case when quiet <= {{ outage * 24 }} then quiet end), 0) as hours
    from busy
),

edges as (
    select
        cast(first_event as date) as first_day,
        cast(last_event as date) as last_day,
        case
            when extract(hour from first_event) > hours then extract(hour from first_event)
            else 0
        end as first_hour,
        case
            when 23 - extract(hour from last_event) > hours then extract(hour from last_event)
            else 23
        end as last_hour
    from quiet
),

bounds as (
    select
        first_day,
        last_day,
        first_hour,
        last_hour,
        cast(case when first_hour > 0 then first_day + 1 else first_day end as date)
            as first_whole_day,
        cast(case when last_hour < 23 then last_day - 1 else last_day end as date)
            as last_whole_day
    from edges
),

busy_days as (
    select day, lead(day) over (order by day) as next_day
    from (select distinct cast(hour as date) as day from busy) as found
),

dates as (
    select cast(busy_days.day + numbers.number as date) as day
    from busy_days
    cross join ({{ numbers(0, outage) }}) as numbers
    where
        numbers.number = 0
        or (numbers.number < next_day - day and next_day - day <= {{ outage + 1 }})
),

days as (
    select
        dates.day,
        dates.day < bounds.first_whole_day or dates.day > bounds.last_whole_day as partial
    from dates
    cross join bounds
)
{%- endmacro %}

{#- The same and `weeks`, by their Mondays; a week is `complete` when it has seven whole days. -#}
{% macro weeks() -%}
{{ days() }},

weeks as (
    select
        {{ week_of("day") }} as week,
        sum(case when partial then 0 else 1 end) = 7 as complete
    from days
    group by {{ week_of("day") }}
)
{%- endmacro %}

{#- A CTE with a number for each user of a `user_key`: many are counted faster than ids as text. -#}
{% macro listeners() -%}
listeners as (
    select user_key, cast(dense_rank() over (order by user_id) as integer) as listener
    from users
)
{%- endmacro %}

{#- The most played of what the columns `names` of a play name, over plays of :level, of those with
    at least :least listeners; `left_out`: how many have fewer. All listeners are numbered and fall
    into eight kinds by the number: as many different ones as kinds there are at least, and to find
    those is fast. Exactly are counted only those that are shown, or of too few kinds to be sure. -#}
{% macro most_played(names, matched) -%}
{% set kinds = 8 -%}
{% set named = "songplays." ~ names | join(", songplays.") -%}
with {{ listeners() }},

played as (
    select
        {{ named }},
        count(*) as plays,
        count(songplays.{{ matched }}) as matched,
        {% for kind in range(kinds) %}
        max(case when mod(listeners.listener, {{ kinds }}) = {{ kind }} then 1 else 0 end)
        {{- " +" if not loop.last else " as kinds" }}
        {% endfor %}
    from songplays
    left join listeners on songplays.user_key = listeners.user_key
    where songplays.{{ names[0] }} is not null and {{ of_level() }}
    group by {{ named }}
),

placed as (
    select
        played.*,
        row_number() over (
            partition by case when kinds >= :least then 1 end
            order by plays desc, {{ names | join(", ") }}
        ) as place
    from played
),

counted as (
    select {{ named }}, placed.plays, placed.matched, count(distinct listeners.listener) as listeners
    from placed
    inner join songplays
        on placed.{{ names[0] }} = songplays.{{ names[0] }}
        {% for name in names[1:] %}
        and {{ engine.alike("placed." ~ name, "songplays." ~ name) }}
        {% endfor %}
    left join listeners on songplays.user_key = listeners.user_key
    where
        {{ of_level() }}
        and (
            (placed.kinds >= :least and placed.place <= :top)
            or (placed.kinds < :least and placed.plays >= :least)
        )
    group by {{ named }}, placed.plays, placed.matched
)

select
    {{ names | join(", ") }},
    plays,
    listeners,
    matched,
    {{ ratio("matched", "plays") }} as matched_share,
    (select count(*) from played where kinds < :least and plays < :least)
    + (select count(*) from counted where listeners < :least) as left_out
from counted
where listeners >= :least
order by plays desc, {{ names | join(", ") }}
limit :top
{%- endmacro %}

{#- A share as a double, NULL of nothing. -#}
{% macro ratio(part, whole) -%}
cast({{ part }} as double precision) / nullif({{ whole }}, 0)
{%- endmacro %}

{#- Quartile `k` of whole numbers in the group: `number` stands `times` times among `n`, and `upto`
    of them are no larger. Hyndman and Fan's type 7, as in pandas and percentile_cont, but summed
    from integers and so exact. -#}
{% macro quartile(k, number, times, upto, n) -%}
cast(
            sum(
                {{ number }} * (
                    greatest(0, least(4, 4 * {{ upto }} - {{ k }} * ({{ n }} - 1)))
                    - greatest(0, least(4, 4 * ({{ upto }} - {{ times }}) - {{ k }} * ({{ n }} - 1)))
                )
            ) as double precision
        ) / 4
{%- endmacro %}

{#- An end of Wilson's 95% interval of `hits` among `trials`, `sign` - for the lower and + for the
    upper: E. B. Wilson, JASA 22 (1927), with hits and trials in place of their share. -#}
{% macro wilson(sign, hits, trials) -%}
{% set hits, trials = "cast(" ~ hits ~ " as double precision)", "nullif(" ~ trials ~ ", 0)" -%}
{% set z = "cast(1.959963984540054 as double precision)" -%}
({{ hits }} + {{ z }} * {{ z }} / 2 {{ sign }} {{ z }} * sqrt(
            {{ hits }} * ({{ trials }} - {{ hits }}) / {{ trials }} + {{ z }} * {{ z }} / 4
        )) / ({{ trials }} + {{ z }} * {{ z }})
{%- endmacro %}

{#- Whether a timestamp lies within the time of this load's events; `all`: every one does. -#}
{% macro in_time_of_load(at, all) -%}
{% if all %}1 = 1{% else -%}
{{ at }} >= cast(:since as timestamp) and {{ at }} <= cast(:until as timestamp)
{%- endif %}
{%- endmacro %}

{#- Timestamp, session and item of the NextSong events that are there more than once in that time. -#}
{% macro shared_timestamps(all) -%}
select start_time, session_id, item_in_session
from staging_events
where page = 'NextSong' and {{ in_time_of_load("start_time", all) }}
group by start_time, session_id, item_in_session
having count(*) > 1
{%- endmacro %}

{#- The plays that a load may have changed, or left behind: all, or those of its time, of versions
    that it has changed, of its songs. -#}
{% macro plays_of_load(all) -%}
{% if all %}songplays{% else %}
(
        select *
        from songplays
        where
            ({{ in_time_of_load("played_at", all) }})
            or user_key in (select user_key from changed_versions)
            or song_id in (select song_id from staging_songs where batch_id >= :first_batch)
    )
{%- endif %}
{%- endmacro %}

{#- Whether a play is of the level that is asked for; '' asks for every one. -#}
{% macro of_level() -%}
(cast(:level as varchar(8)) = '' or songplays.level = cast(:level as varchar(8)))
{%- endmacro %}
