"""`household`: an original benchmark in M3-Bench's shape, days in a household, written by a program."""
