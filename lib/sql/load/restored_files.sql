-- Grain: one known file whose identity has changed and whose content has not; empty at first.
drop table if exists restored_files;

create temporary table restored_files as
select
    file_key,
    device,
    inode,
    mtime_ns,
    ctime_ns
from load_files
where 1 = 0
