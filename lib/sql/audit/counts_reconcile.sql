-- Load: as many rows are staged and rejected as the ledger says that this load's files hold.
with ledger as (
    select kind, sum(row_count) as records, sum(reject_count) as rejects
    from load_files
    where batch_id >= :first_batch
    group by kind
),

staged as (
    select 'events' as kind, count(*) as records from staging_events where batch_id >= :first_batch
    union all
    select 'songs', count(*) from staging_songs where batch_id >= :first_batch
),

rejected as (
    select load_files.kind, count(*) as rejects
    from load_rejects
    inner join load_files
        on load_rejects.file_key = load_files.file_key
        and load_rejects.batch_id = load_files.batch_id
    where load_rejects.batch_id >= :first_batch
    group by load_files.kind
)

select
    ledger.kind,
    ledger.records,
    staged.records as staged,
    ledger.rejects,
    coalesce(rejected.rejects, 0) as rejected
from ledger
left join staged on ledger.kind = staged.kind
left join rejected on ledger.kind = rejected.kind
where ledger.records <> staged.records or ledger.rejects <> coalesce(rejected.rejects, 0)
