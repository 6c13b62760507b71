"""Finds the runs of a thread: Temporal's workflow executions with the thread id as their workflow id.

Knows which run is the latest, which came before it and how each was started. What a run contains, and how it ended, is
read by `records` and `run_outcome`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus
from temporalio.common import RawValue
from temporalio.service import RPCError, RPCStatusCode

from stepgraph.errors import UnknownFormatError
from stepgraph.protocol.start_options import StartOptions
from stepgraph.temporal.payloads import from_raw

MAX_RUNS_LISTED = 10
"""How many of a thread's runs are listed to find the one before a run that was started by hand."""

FIRST_EVENTS = 10
"""How many events of a run are read before all of them are."""


@dataclass(frozen=True)
class Run:
    """One run of a thread."""

    thread_id: str
    run_id: str
    graph: str
    """The name of its graph, which is its workflow type."""
    task_queue: str
    status: WorkflowExecutionStatus
    start_time: datetime

    @property
    def ended_externally(self) -> bool:
        """Whether the run was terminated, cancelled or timed out, and so could not leave a record."""
        return self.status in (
            WorkflowExecutionStatus.TERMINATED,
            WorkflowExecutionStatus.CANCELED,
            WorkflowExecutionStatus.TIMED_OUT,
        )

    @property
    def is_open(self) -> bool:
        """Whether the run has not ended yet."""
        return self.status is WorkflowExecutionStatus.RUNNING

    @classmethod
    def from_execution(cls, execution: WorkflowExecution) -> Run:
        """Make a run from the SDK's description of an execution."""
        assert execution.status is not None
        return cls(
            execution.id,
            execution.run_id,
            execution.workflow_type,
            execution.task_queue,
            execution.status,
            execution.start_time,
        )


async def latest_run(client: Client, thread_id: str, run_id: str | None = None) -> Run | None:
    """Return the thread's latest run, or the one with ``run_id``; `None` if the server has no such run.

    The answer is strongly consistent: it comes from the run itself, not from the visibility store.
    """
    handle = client.get_workflow_handle(thread_id, run_id=run_id)
    try:
        return Run.from_execution(await handle.describe())
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND or (run_id and error.status is RPCStatusCode.INVALID_ARGUMENT):
            return None
        raise


async def list_runs(client: Client, thread_id: str, *, limit: int) -> list[Run]:
    """Return runs of a thread, newest first, from the visibility store.

    The store lags behind, so the latest runs may be missing, and servers limit the rate of such requests.
    """
    executions = client.list_workflows(f"WorkflowId = {quote_value(thread_id)}", limit=limit)
    runs = [Run.from_execution(execution) async for execution in executions]
    return sorted(runs, key=lambda run: run.start_time, reverse=True)


def quote_value(text: str) -> str:
    """Return a text as a quoted value of a visibility query."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


async def was_picked_up(client: Client, run: Run) -> bool:
    """Return whether a worker has completed any workflow task of the run. If not, a query has nothing to replay."""
    handle = client.get_workflow_handle(run.thread_id, run_id=run.run_id)
    for page_size in (FIRST_EVENTS, None):  # as a rule, a worker has completed a task after a few events
        seen = 0
        async for event in handle.fetch_history_events(page_size=page_size):
            if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
                return True
            seen += 1
            if page_size is not None and seen == page_size:
                break
        if page_size is not None and seen < page_size:  # there are no more
            break
    return False


async def run_before(client: Client, run: Run) -> Run | None:
    """Return the thread's run before this one; `None` if there is none, or if retention has removed it.

    A run that a client started, or that was continued as new, names its predecessor in its options. For a run that was
    started by hand the predecessor is looked up in the visibility store, which lags behind.
    """
    options = await start_options(client, run)
    if options.after is not None or options.caller is not None:
        return await latest_run(client, run.thread_id, options.after) if options.after else None
    listed = await list_runs(client, run.thread_id, limit=MAX_RUNS_LISTED)
    return next((other for other in listed if other.start_time < run.start_time), None)


async def start_options(client: Client, run: Run) -> StartOptions:
    """Return the options that a run was started with, read from its first event.

    Options that are missing or invalid, as they may be in a run that was started by hand, count as the defaults.
    """
    handle = client.get_workflow_handle(run.thread_id, run_id=run.run_id)
    async for event in handle.fetch_history_events(page_size=1):
        payloads = event.workflow_execution_started_event_attributes.input.payloads
        if len(payloads) > 1:
            try:
                _, options, *_ = await client.data_converter.decode(payloads, [RawValue] * len(payloads))
                return StartOptions.model_validate(from_raw(options) or {})
            except (ValueError, UnknownFormatError):  # pydantic's, too
                pass
        break
    return StartOptions()
