-- How many rows each audit finds: one statement, so that an engine works on all at once.
{% for audit in audits %}
select '{{ audit }}' as audit, count(*) as found
from (
{% include "audit/" ~ audit ~ ".sql" %}

) as offending
{{ "union all" if not loop.last }}
{% endfor %}
