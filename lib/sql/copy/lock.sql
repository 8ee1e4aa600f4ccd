-- One load at a time: a second one waits here, so many milliseconds at most, and then sees what the
-- first has done. The limit is for this statement alone: the transaction may take as long as it needs.
set local statement_timeout to {{ milliseconds }};

lock table load_lock;

set local statement_timeout to default
