-- The next rows of it. From a cluster of one node a cursor gives at most 1,000 at once.
fetch forward 1000 from export
