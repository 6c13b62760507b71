"""What clients, workers and workflows share when they speak to Temporal: payloads, runs, records, settings, logs.

Owns the form of stepgraph's data in Temporal (JSON payloads, failures, external storage, search attributes), how a
thread's runs and their outcomes are read from a server, the environment variables, and everything that depends on the
Temporal SDK's internals.

Knows nothing of workflow code, of activities and their attempts, of commands that a client sends, or of how a server is
found and a worker is started: `stepgraph_workflows`, `stepgraph_activities`, `stepgraph.client` and `stepgraph.hosting`
do, and all of them import from here.

Read in this order: `payloads` (how data is encoded), `executions` (the runs of a thread), `run_outcome` (how a closed
run ended), `records` (the record of any run, read or queried). The other modules can be read in any order.
"""
