"""Makes the worker of stepgraph's own processes: those that call ``graph.invoke``, and those of the command line.

Owns the settings of such a worker: threads, caches, grace periods. `GraphPlugin` owns what a worker serves.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.worker import Worker

from stepgraph.client import query_run_or_replay
from stepgraph.execution.registry import GraphRegistry
from stepgraph.hosting.plugin import NODE_THREADS, GraphPlugin
from stepgraph.hosting.process_store import process_store
from stepgraph.temporal.daemon_executor import DaemonExecutor
from stepgraph.temporal.settings import number_setting
from stepgraph_activities import activities_for

WORKFLOW_THREADS = 8

SHORT_GRACE = timedelta(seconds=0.5)
"""How long the worker of a process that ends waits for running nodes. The process has its results by then: these nodes
belong to threads whose result it does not wait for, or that the user interrupted. Another worker runs unfinished nodes
again."""

MAX_CACHED_WORKFLOWS = 300
"""How many open runs a worker keeps in memory; each takes a few times the size of its state. Another run is replayed
when its next workflow task arrives."""

STICKY_TIMEOUT = timedelta(seconds=3)
"""How long a workflow task waits for the worker that has its run in memory, before any worker may take it. If that
worker was killed, the run is delayed by this much."""


def graph_worker(
    client: Client,
    graphs: Sequence[GraphRegistry],
    *,
    task_queue: str,
    grace: timedelta,
) -> Worker:
    """Return a worker that serves graphs. The caller runs it.

    Args:
        client: a connected client.
        graphs: the graphs to serve.
        task_queue: the task queue to poll.
        grace: how long the worker waits for running nodes when it is shut down.
    """
    return plugin_worker(client, daemon_plugin(graphs), task_queue=task_queue, grace=grace)


def daemon_plugin(graphs: Sequence[GraphRegistry]) -> GraphPlugin:
    """Return a plugin whose nodes run on daemon threads, so that the process can end while a node is running."""
    plugin = GraphPlugin(graphs)
    plugin.executor = DaemonExecutor(NODE_THREADS, name="stepgraph-node")  # type: ignore[assignment]  # declared by its default
    plugin.activities = activities_for(
        plugin.graphs, plugin.executor, query=query_run_or_replay, open_store=process_store.open
    )
    return plugin


def plugin_worker(client: Client, plugin: GraphPlugin, *, task_queue: str, grace: timedelta) -> Worker:
    """Return a worker for the graphs of a plugin, as `graph_worker` does. Workflow tasks run on daemon threads, too."""
    workflow_threads: Any = DaemonExecutor(WORKFLOW_THREADS, name="stepgraph-workflow")
    return Worker(
        client,
        task_queue=task_queue,
        plugins=[plugin],
        graceful_shutdown_timeout=grace,
        workflow_task_executor=workflow_threads,
        sticky_queue_schedule_to_start_timeout=STICKY_TIMEOUT,
        max_cached_workflows=int(number_setting("STEPGRAPH_MAX_CACHED_WORKFLOWS", MAX_CACHED_WORKFLOWS)),
    )
