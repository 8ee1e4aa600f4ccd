-- One row, which says that this project made the warehouse, and what kind of data it holds.
create table warehouse_mark (
    project varchar(64) not null,
    version varchar(32) not null,
    data_kind varchar(16),
    created_at timestamp not null
) {{ engine.table_options(sort="") }};

insert into warehouse_mark (project, version, created_at)
values ('sparkify-dwh', {{ version | literal }}, cast({{ created_at | literal }} as timestamp))
