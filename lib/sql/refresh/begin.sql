-- A new set of the star's tables, empty, which stand before those of the same name in this session.
{% for table in tables %}
create temporary table {{ table }} as select * from {{ home }}.{{ table }} where 1 = 0;

{% endfor %}
