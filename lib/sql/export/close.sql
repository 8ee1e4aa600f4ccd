-- Close the cursor: a session can have one at a time.
close export
