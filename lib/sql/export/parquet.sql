-- One table or view as a Parquet file, in the order of its first column, the key.
copy (select * from {{ table }} order by 1) to :file (format parquet)
