"""Execution of tasks and commands: everything that calls the user's code.

Owns what nodes, routers and `interrupt` may take and return, which failures are retried, and how a command changes a
thread. Refuses to know Temporal, networks and settings. The activities, the workflow and the in-memory runner call it,
and pass in what differs between them: a clock, threads for functions that are not async, the reading of other runs.

Read in this order:

1. `state_schema`, `retry` and `registry`: a graph's code, as `StateGraph.compile` leaves it.
2. `scratchpad` and `run_node`: one task.
3. `fused_steps`: several super-steps in one process.
4. `apply_command`: updates by hand, forks, answers and inputs.
5. `state_cache`: states that this process has already.
"""
