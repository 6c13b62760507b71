"""Lists threads from Temporal's visibility store, and names their status."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from stepgraph.client import Silence
from stepgraph.graph.validation import graph_name
from stepgraph.protocol.names import SHARED_TASK_QUEUE, task_queue_of
from stepgraph.protocol.snapshot import StateSnapshot
from stepgraph.temporal.executions import quote_value
from stepgraph.temporal.search_attributes import GRAPH, STATUS
from stepgraph.temporal.settings import text_setting

_STATUS_NAMES = {
    WorkflowExecutionStatus.RUNNING: "running",
    WorkflowExecutionStatus.COMPLETED: "complete",
    WorkflowExecutionStatus.CONTINUED_AS_NEW: "running",
    WorkflowExecutionStatus.TIMED_OUT: "timed out",
}

REFUSED = "refused"
"""The status of a thread whose latest run has refused what it was started for."""


def status_of(status: WorkflowExecutionStatus | None) -> str:
    """Return the name of a run's status."""
    return "unknown" if status is None else _STATUS_NAMES.get(status, status.name.lower())


def thread_status(status: WorkflowExecutionStatus | None, head: StateSnapshot, *, refused: bool) -> str:
    """Return the name of a thread's status, from the status of its latest run and its head.

    ``refused``: whether that run has refused what it was started for. A completed run may leave nodes to run: a node
    failed, or the thread waits at an interrupt or breakpoint.
    """
    if refused and status is WorkflowExecutionStatus.FAILED:
        return REFUSED
    if status is WorkflowExecutionStatus.COMPLETED and head.next:
        return "failed" if any(task.error for task in head.tasks) else "waiting"
    return "waiting" if status is WorkflowExecutionStatus.RUNNING and head.interrupts else status_of(status)


def silence_text(silence: Silence) -> str:
    """Return a line on a thread whose run is open, and whose workers do not answer."""
    now = datetime.now(UTC)
    since = (
        f"nobody has polled it for {int((now - silence.last_polled).total_seconds())} s"
        if silence.last_polled is not None
        else "nobody has polled it for minutes"
    )
    return f"worker      none answers on task queue {silence.task_queue!r}: {since}"


def _listed_status(execution: WorkflowExecution) -> str:
    """Return the status that a run recorded as its search attribute.

    A run that was terminated, cancelled or timed out could not record that: Temporal's status is the right one then.
    """
    recorded = execution.typed_search_attributes.get(STATUS)
    if execution.status is WorkflowExecutionStatus.FAILED and recorded == REFUSED:
        return REFUSED
    if execution.status in (WorkflowExecutionStatus.RUNNING, WorkflowExecutionStatus.COMPLETED):
        return recorded or status_of(execution.status)
    return status_of(execution.status)


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
            "status": _listed_status(execution),
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
