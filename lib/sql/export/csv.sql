-- One table or view as a CSV file, sorted by its columns from left to right. UTF-8, with a header,
-- NULL is nothing and an empty string is "".
copy (select * from {{ table }} order by all) to :file (format csv)
