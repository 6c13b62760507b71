"""What runs stepgraph in a process of its own or of the user's: the connection to a server, workers, the session.

Owns how a Temporal server is found or started, how graphs are put into a worker, and the session through which
`CompiledGraph`'s methods reach Temporal. Refuses to know how a graph is defined (`stepgraph.graph`), what a command
prints (`stepgraph.cli`), and what a workflow or an activity does: it registers those of `stepgraph_workflows` and
`stepgraph_activities`, and calls threads through `stepgraph.client`.

Read in this order:

1. `plugin`: `GraphPlugin` puts graphs into any Temporal worker.
2. `graph_worker`: the worker of stepgraph's own processes.
3. `connection`: finds a server, in the order of configured, local, embedded. `disk_guard`: tells that an embedded
   server's disk is full.
4. `process_store`: the store that nodes get.
5. `session`: one connection, one event loop and the workers of a process that calls ``graph.invoke``.

Modules with a leading underscore are private to this package: `_embedded_server` and the keeper process that it starts,
`_server_keeper`; `_namespaces` and `_web_ui`, which `connection` uses; `_process_workers`, which `session` uses;
`_sdk_runtime`.
"""
