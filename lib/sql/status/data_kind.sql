-- The kind of data that was loaded: sample or own; NULL before the first load.
select data_kind from warehouse_mark
