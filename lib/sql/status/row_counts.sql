-- Number of rows of each table, in the order given.
{% for table in tables -%}
select cast({{ loop.index }} as integer) as position, '{{ table }}' as table_name, count(*) as row_count
from {{ table }}
{{ "union all" if not loop.last }}
{% endfor -%}
order by position
