"""The engine: plans super-steps and commits them, from a spec and values alone. No clock, no randomness, no I/O.

Read in this order: `checkpoint` (the data), `plan`, `commit`, `thread` (the log of one run, which drives the two).
"""
