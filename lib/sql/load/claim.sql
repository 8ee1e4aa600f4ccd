-- Says which kind of data the warehouse holds from its first load on.
update warehouse_mark set data_kind = cast(:data_kind as varchar(16))
