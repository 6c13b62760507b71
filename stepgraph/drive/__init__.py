"""Drives a thread through commands and super-steps, wherever it runs: in the workflow, or in memory.

Owns how a command changes a thread, and when the graph's code is needed for that. Refuses to call that code: where it
is needed, a request is made and passed to the `ThreadIO` of the caller, which knows where the code is. So nothing here
depends on what the code of the graph has become since the thread began.

Read first: `thread_io` (what the caller does), then `commit_step` (super-steps) and `apply_command` (commands).
"""
