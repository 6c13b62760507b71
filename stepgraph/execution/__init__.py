"""The code of a graph: everything that calls it, or knows its types.

Owns what nodes, routers, reducers and `interrupt` may take and return, how values of declared types become JSON data
and come back, and which failures are retried. Refuses to know Temporal, networks and settings, and what a command does
to a thread (`stepgraph.drive`). The activities and the in-memory runner call it, and pass in what differs between them:
a clock, and threads for functions that are not async. The workflow must not reach anything here.

Read in this order:

1. `channels`, `reducers`, `state_schema`, `node_parameters`, `retry` and `registry`: a graph's code, as
   `StateGraph.compile` leaves it.
2. `run_code`: that code for a run, which may have recorded another spec.
3. `scratchpad`, `runtime`, `task_context`, `call_function`, `run_node` and `task_result`: one task; `task_code`, where
   another library runs it.
4. `custom_folds` and `apply_writes`: the writes of several tasks, and updates by hand.
5. `fused_steps`: several super-steps in one process.
"""
