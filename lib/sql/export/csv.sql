-- One table or view as a CSV file, in the order of its first column, the key. UTF-8, with a header,
-- NULL is nothing and an empty string is "".
copy (select * from {{ table }} order by 1) to :file (format csv)
