-- The ledger takes the identity that a known file has now.
update load_files
set
    device = restored_files.device,
    inode = restored_files.inode,
    mtime_ns = restored_files.mtime_ns,
    ctime_ns = restored_files.ctime_ns
from restored_files
where load_files.file_key = restored_files.file_key
