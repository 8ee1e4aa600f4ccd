-- Rows of a DataFrame, added to a table as they are.
insert into {{ table }} ({{ columns | join(", ") }})
select {{ columns | join(", ") }} from appended
