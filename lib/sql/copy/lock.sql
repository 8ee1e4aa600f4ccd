-- One load at a time: a second one waits here, and then sees what the first has done.
lock table load_lock
