-- The next rows of the cursor: at most 1,000, the limit of a single-node cluster.
fetch forward 1000 from export
