"""What is measured: `make bench` prints a table; every figure is a ratio of two things timed."""
