"""The command lines: ``starter.py`` (`stepgraph`) for operators, ``worker.py`` (`stepgraph-worker`) for deployments.

Owns arguments, what is printed, and exit statuses. Refuses to know how a thread is run or read: commands call
`GraphClient` and the workers of `stepgraph.hosting`.

Read in this order:

1. `starter_app` and `time_travel`: the operator's commands. `worker_app`: the worker's.
2. `arguments`, `connect`, `checkpoint_ref`, `graph_loader`: from what is typed to a client, a checkpoint, a graph.
3. `progress`, `rendering`, `checkpoint_tree`, `thread_list`: what is printed.
4. `error_output`: how every command reports its errors.
"""
