-- A session has one cursor at a time.
close export
