"""The workers that stepgraph's own processes bring: `graph.invoke`, the command lines."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.worker import Worker

from stepgraph.execution.registry import GraphRegistry
from stepgraph.hosting.plugin import NODE_THREADS, GraphPlugin
from stepgraph.temporal.daemon_executor import DaemonExecutor
from stepgraph.temporal.settings import number
from stepgraph_activities import activities_for

WORKFLOW_THREADS = 8

SHORT_GRACE = timedelta(seconds=0.5)
"""How long the worker of a process that ends waits for nodes: those of threads nobody here waits for, or that the
user interrupted. What is not done by then, another worker does again."""

MAX_CACHED_WORKFLOWS = 300
"""Open runs that a worker keeps in memory, each with a few times its state; one that is not is replayed first when
something happens on it."""

STICKY_TIMEOUT = timedelta(seconds=3)
"""How long a run waits for the worker that knows it already, once that may be gone."""


def graph_worker(
    client: Client,
    graphs: Sequence[GraphRegistry],
    *,
    task_queue: str,
    grace: timedelta,
    reads_only: bool = False,
) -> Worker:
    """A worker for graphs, to be run.

    Nodes and workflow tasks are on daemon threads, so that a process can end whatever a node is doing.

    Args:
        client: a connected client.
        graphs: the graphs to serve.
        task_queue: the queue to poll.
        grace: how long a worker that is told to stop waits for nodes that are running.
        reads_only: answer queries, and take no nodes.
    """
    plugin = GraphPlugin(graphs)
    plugin.executor = DaemonExecutor(NODE_THREADS, name="stepgraph-node")  # type: ignore[assignment]  # declared by its default
    plugin.activities = activities_for(plugin.graphs, plugin.executor)
    workflow_threads: Any = DaemonExecutor(WORKFLOW_THREADS, name="stepgraph-workflow")
    return Worker(
        client,
        task_queue=task_queue,
        plugins=[plugin],
        graceful_shutdown_timeout=grace,
        workflow_task_executor=workflow_threads,
        no_remote_activities=reads_only,
        sticky_queue_schedule_to_start_timeout=STICKY_TIMEOUT,
        max_cached_workflows=int(number("STEPGRAPH_MAX_CACHED_WORKFLOWS", MAX_CACHED_WORKFLOWS)),
    )
