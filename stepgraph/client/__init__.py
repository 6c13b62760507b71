"""Starts, resumes, changes and reads the threads of a graph, from any process that has a Temporal client.

Owns what a call does on the server: which run of the thread it concerns, whether that run gets an update or a new run
is started, how a result is awaited, and where a snapshot is read from. Refuses to know nodes, workers and how the
process got its connection: a graph is its name here, with at most the schema of its state.

Other packages import from `stepgraph.client` only. Read first: `graph_client` (the methods), `invocations` and
`update_commands` (what they do to an open, a closed and a new thread), `graph_run` (waiting for a run), then
`thread_reader` (snapshots) and `run_queries` (answers of workers, or of a replay).
"""

from stepgraph.client.graph_client import GraphClient
from stepgraph.client.graph_run import FinishedRun, GraphRun, QueuedRun, UnresponsiveQueue
from stepgraph.client.run_queries import query_run_or_replay
from stepgraph.client.server_errors import server_error

__all__ = [
    "FinishedRun",
    "GraphClient",
    "GraphRun",
    "QueuedRun",
    "UnresponsiveQueue",
    "query_run_or_replay",
    "server_error",
]
