"""The runs of a thread, as Temporal's workflow executions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError
from temporalio.api.enums.v1 import EventType
from temporalio.client import (
    Client,
    WorkflowExecution,
    WorkflowExecutionStatus,
)
from temporalio.common import RawValue
from temporalio.service import RPCError, RPCStatusCode

from stepgraph.protocol.start_options import StartOptions
from stepgraph.temporal.payloads import from_raw

MAX_RUNS_LISTED = 10


@dataclass(frozen=True)
class Run:
    """One execution of a thread's workflow."""

    thread_id: str
    run_id: str
    graph: str
    """Its workflow type."""
    task_queue: str
    status: WorkflowExecutionStatus
    start_time: datetime

    @property
    def ended_externally(self) -> bool:
        """Whether it was terminated, cancelled or timed out: it could not leave a record."""
        return self.status in (
            WorkflowExecutionStatus.TERMINATED,
            WorkflowExecutionStatus.CANCELED,
            WorkflowExecutionStatus.TIMED_OUT,
        )

    @property
    def is_open(self) -> bool:
        """Whether it may still do something."""
        return self.status is WorkflowExecutionStatus.RUNNING

    @classmethod
    def of(cls, execution: WorkflowExecution) -> Run:
        """From what the SDK tells of an execution."""
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
    """The thread's current run, or a certain one; `None` if the server knows of none. Consistent: no visibility lag."""
    try:
        return Run.of(await client.get_workflow_handle(thread_id, run_id=run_id).describe())
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND or (run_id and error.status is RPCStatusCode.INVALID_ARGUMENT):
            return None
        raise


async def runs_of(client: Client, thread_id: str, *, limit: int) -> list[Run]:
    """The latest runs of a thread, newest first, as visibility has them: it lags, and real servers ration it."""
    listed = client.list_workflows(f"WorkflowId = {quote_value(thread_id)}", limit=limit)
    found = [Run.of(execution) async for execution in listed]
    return sorted(found, key=lambda run: run.start_time, reverse=True)


def quote_value(text: str) -> str:
    """A text as a value in a visibility query."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


async def was_picked_up(client: Client, run: Run) -> bool:
    """Whether a worker ever did anything for a run; otherwise there is nothing that a query could ask."""
    handle = client.get_workflow_handle(run.thread_id, run_id=run.run_id)
    events = handle.fetch_history_events(page_size=10)
    return any([event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED async for event in events])


async def run_before(client: Client, run: Run) -> Run | None:
    """The thread's run before this one: as its start names it; for one started by hand, as visibility has it."""
    options = await start_options(client, run)
    if options.after is not None or options.caller is not None:
        return await latest_run(client, run.thread_id, options.after) if options.after else None
    known = await runs_of(client, run.thread_id, limit=MAX_RUNS_LISTED)
    return next((other for other in known if other.start_time < run.start_time), None)


async def start_options(client: Client, run: Run) -> StartOptions:
    """The options that a run was started with, from its first event."""
    handle = client.get_workflow_handle(run.thread_id, run_id=run.run_id)
    async for event in handle.fetch_history_events(page_size=1):
        payloads = event.workflow_execution_started_event_attributes.input.payloads
        if len(payloads) > 1:
            try:
                _, options, *_ = await client.data_converter.decode(payloads, [RawValue] * len(payloads))
                return StartOptions.model_validate(from_raw(options) or {})
            except (ValidationError, ValueError):
                pass
        break
    return StartOptions()
