-- One table or view as a Parquet file, sorted by its columns from left to right.
copy (select * from {{ table }} order by all) to :file (format parquet)
