"""Names the status of a thread, and says whether its workers answer."""

from __future__ import annotations

from datetime import UTC, datetime

from temporalio.client import WorkflowExecution, WorkflowExecutionStatus

from stepgraph.client import UnresponsiveQueue
from stepgraph.protocol.snapshot import StateSnapshot
from stepgraph.temporal.search_attributes import STATUS

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


def listed_status(execution: WorkflowExecution) -> str:
    """Return the status that a run recorded as its search attribute.

    A run that was terminated, cancelled or timed out could not record that: Temporal's status is the right one then.
    """
    recorded = execution.typed_search_attributes.get(STATUS)
    if execution.status is WorkflowExecutionStatus.FAILED and recorded == REFUSED:
        return REFUSED
    if execution.status in (WorkflowExecutionStatus.RUNNING, WorkflowExecutionStatus.COMPLETED):
        return recorded or status_of(execution.status)
    return status_of(execution.status)


def unresponsive_text(unresponsive: UnresponsiveQueue) -> str:
    """Return a line on a thread whose run is open, and whose workers do not answer."""
    now = datetime.now(UTC)
    since = (
        f"nobody has polled it for {int((now - unresponsive.last_polled).total_seconds())} s"
        if unresponsive.last_polled is not None
        else "nobody has polled it for minutes"
    )
    return f"worker      none answers on task queue {unresponsive.task_queue!r}: {since}"
