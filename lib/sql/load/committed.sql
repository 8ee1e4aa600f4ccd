-- The files that one load has entered in the ledger.
select count(*) as files
from load_files
where batch_id = :batch_id and loaded_at = cast(:loaded_at as timestamp)
