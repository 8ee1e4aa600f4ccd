-- The new set in place of the old; who reads sees the old one until the commit.
{% for table in tables %}
delete from {{ home }}.{{ table }};

insert into {{ home }}.{{ table }} select * from {{ table }};

drop table {{ engine.temporary(table) }};

{% endfor %}
