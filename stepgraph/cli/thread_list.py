"""Lists threads from Temporal's visibility store."""

from __future__ import annotations

from typing import Any

from temporalio.client import Client, WorkflowExecution
from temporalio.service import RPCError, RPCStatusCode

from stepgraph.cli.thread_status import listed_status
from stepgraph.graph.validation import graph_name
from stepgraph.protocol.names import SHARED_TASK_QUEUE, task_queue_of
from stepgraph.temporal.executions import quote_value
from stepgraph.temporal.search_attributes import GRAPH
from stepgraph.temporal.settings import text_setting


async def list_threads(client: Client, *, graph: str | None, limit: int) -> list[dict[str, Any]]:
    """Return the latest threads, by the start of their latest run.

    A run that no worker has taken up has no search attributes yet, and some namespaces have none at all: such threads
    are found by their task queue, if that is stepgraph's or the one of STEPGRAPH_TASK_QUEUE.

    Args:
        client: a connected client.
        graph: only threads of this graph; by default those of all graphs.
        limit: how many threads at the most.

    Returns:
        For each thread ``thread_id``, ``graph``, ``status``, ``started`` and ``ended``, the times in ISO 8601.
    """
    if graph is not None:
        latest_runs = await _latest_runs(client, f"WorkflowType = '{graph_name(graph)}'", limit)
    else:
        on_task_queues = " OR ".join(_of_task_queues())
        try:
            latest_runs = await _latest_runs(client, f"{GRAPH.name} IS NOT NULL OR {on_task_queues}", limit)
        except RPCError as error:
            if error.status is not RPCStatusCode.INVALID_ARGUMENT:
                raise
            latest_runs = await _latest_runs(client, on_task_queues, limit)  # the namespace lacks the search attribute
    return [
        {
            "thread_id": execution.id,
            "graph": execution.workflow_type,
            "status": listed_status(execution),
            "started": execution.start_time.isoformat(),
            "ended": execution.close_time.isoformat() if execution.close_time else None,
        }
        for execution in sorted(latest_runs, key=lambda execution: execution.start_time, reverse=True)
    ]


def _of_task_queues() -> list[str]:
    """Return conditions of a visibility query for stepgraph's own task queues, and for the one that is set."""
    task_queue = text_setting("STEPGRAPH_TASK_QUEUE")
    own = [f"TaskQueue = '{SHARED_TASK_QUEUE}'", f"TaskQueue STARTS_WITH '{task_queue_of('')}'"]
    return [*own, *([f"TaskQueue = {quote_value(task_queue)}"] if task_queue else [])]


async def _latest_runs(client: Client, query: str, limit: int) -> list[WorkflowExecution]:
    """Return the latest run of each thread that a visibility query finds, of so many threads."""
    latest_runs: dict[str, WorkflowExecution] = {}
    async for execution in client.list_workflows(query):
        latest = latest_runs.get(execution.id)
        if latest is None and len(latest_runs) == limit:
            break
        if latest is None or execution.start_time > latest.start_time:
            latest_runs[execution.id] = execution
    return list(latest_runs.values())
