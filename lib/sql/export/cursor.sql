-- A table to be fetched a few rows at a time; within a transaction.
declare export cursor for select * from {{ table }}
