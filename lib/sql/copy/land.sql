-- Where COPY puts the new files' records: the columns of the staging table, for this session only.
drop table if exists landed_{{ kind }};

create temporary table landed_{{ kind }} (like staging_{{ kind }})
