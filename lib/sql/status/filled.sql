-- How many rows of a load have each column: a column that none has may be missing in the files.
select {% for column in columns %}count({{ column }}) as {{ column }}{{ ", " if not loop.last }}{% endfor %}

from {{ table }}
where batch_id = :batch_id
