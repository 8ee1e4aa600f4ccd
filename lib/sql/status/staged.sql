-- Rows that a load has staged in one table.
select count(*) as row_count from {{ table }} where batch_id = :batch_id
