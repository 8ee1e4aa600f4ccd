-- Holds nothing: a load locks it, and who reads the other tables need not wait.
create table if not exists load_lock (holder varchar(64))
