-- Open a cursor on a table, within a transaction, to fetch it some rows at a time.
declare export cursor for select * from {{ table }}
