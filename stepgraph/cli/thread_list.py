"""The threads that visibility knows of."""

from __future__ import annotations

from typing import Any

from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus

from stepgraph.graph.validation import graph_name
from stepgraph.protocol.names import SHARED_TASK_QUEUE
from stepgraph.protocol.snapshot import StateSnapshot
from stepgraph.temporal.search_attributes import STATUS
from stepgraph.temporal.settings import text

_STATUS = {
    WorkflowExecutionStatus.RUNNING: "running",
    WorkflowExecutionStatus.COMPLETED: "complete",
    WorkflowExecutionStatus.CONTINUED_AS_NEW: "running",
    WorkflowExecutionStatus.TIMED_OUT: "timed out",
}


def status_of(status: WorkflowExecutionStatus | None) -> str:
    """A run's status in a word or two."""
    return "unknown" if status is None else _STATUS.get(status, status.name.lower())


def thread_status(status: WorkflowExecutionStatus | None, head: StateSnapshot) -> str:
    """The same for a thread whose head is known: its last run may be over, and something left to do."""
    if status is WorkflowExecutionStatus.COMPLETED and head.next:
        return "failed" if any(task.error for task in head.tasks) else "waiting"
    return "waiting" if status is WorkflowExecutionStatus.RUNNING and head.interrupts else status_of(status)


def _status(execution: WorkflowExecution) -> str:
    """As its run told, if that could tell last."""
    if execution.status in (WorkflowExecutionStatus.RUNNING, WorkflowExecutionStatus.COMPLETED):
        return execution.typed_search_attributes.get(STATUS) or status_of(execution.status)
    return status_of(execution.status)


async def list_threads(client: Client, *, graph: str | None, limit: int) -> list[dict[str, Any]]:
    """The latest threads by their latest run: ``thread_id``, ``graph``, ``status``, ``started``, ``ended``."""
    task_queue = (text("STEPGRAPH_TASK_QUEUE") or "").replace("\\", "\\\\").replace("'", "\\'")
    query = f"TaskQueue = '{task_queue}'" if task_queue else f"TaskQueue STARTS_WITH '{SHARED_TASK_QUEUE}'"
    if graph is not None:
        query = f"WorkflowType = '{graph_name(graph)}'"
    latest: dict[str, Any] = {}
    async for execution in client.list_workflows(query):
        known = latest.get(execution.id)
        if known is None and len(latest) == limit:
            break
        if known is None or execution.start_time > known.start_time:
            latest[execution.id] = execution
    return [
        {
            "thread_id": execution.id,
            "graph": execution.workflow_type,
            "status": _status(execution),
            "started": execution.start_time.isoformat(),
            "ended": execution.close_time.isoformat() if execution.close_time else None,
        }
        for execution in sorted(latest.values(), key=lambda execution: execution.start_time, reverse=True)
    ]
