"""Runs of a thread as Temporal knows them: which is the latest, and what a closed one left behind.

Reads only; shared by the client and by the activity that opens a thread.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import (
    Client,
    WorkflowExecution,
    WorkflowExecutionStatus,
    WorkflowHistoryEventFilterType,
)
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from stepgraph.engine.record import Record
from stepgraph.errors import CheckpointExpiredError, StepgraphError, from_wire
from stepgraph.protocol.thread_errors import not_found
from stepgraph.protocol.wire import GET_RECORD, Pages, Refusal, StartOptions
from stepgraph.temporal.payloads import from_raw, to_raw

_ENDED = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED: "cancelled",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED: "terminated",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT: "timed out",
}
QUERY_TIMEOUT = timedelta(seconds=20)
RUNS_LOOKED_AT = 10


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
    def ended_from_outside(self) -> bool:
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


@dataclass(frozen=True)
class Closing:
    """How a run ended."""

    record: Record | None = None
    error: StepgraphError | None = None
    continued_as: str | None = None
    """The run that followed at once."""
    grew_long: bool = False
    """Whether that one goes on with the same; otherwise it begins the next input in line."""
    ended: str | None = None
    """What it was from outside: ``cancelled``, ``terminated`` or ``timed out``."""
    fault: str | None = None
    """What it failed with, where that is no error of stepgraph's."""


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
    listed = client.list_workflows(f"WorkflowId = {quoted(thread_id)}", limit=limit)
    found = [Run.of(execution) async for execution in listed]
    return sorted(found, key=lambda run: run.start_time, reverse=True)


def quoted(text: str) -> str:
    """A text as a value in a visibility query."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


async def closing_of(client: Client, run: Run) -> Closing:
    """How a closed run ended, from its last event alone: no worker, no replay."""
    return await closing_in(client, run.thread_id, run.run_id)


async def closing_in(client: Client, thread_id: str, run_id: str) -> Closing:
    """The same for a run of which only the ids are known; waits for the end of one that is open."""
    handle = client.get_workflow_handle(thread_id, run_id=run_id)
    events = handle.fetch_history_events(
        wait_new_event=True, event_filter_type=WorkflowHistoryEventFilterType.CLOSE_EVENT
    )
    async for event in events:
        return await _closing(client, event)
    return Closing()


async def closing_now(client: Client, thread_id: str) -> Closing:
    """How the thread's current run ended; empty if it is open, or if there is none."""
    events = client.get_workflow_handle(thread_id).fetch_history_events(
        event_filter_type=WorkflowHistoryEventFilterType.CLOSE_EVENT
    )
    try:
        async for event in events:
            return await _closing(client, event)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
    return Closing()


async def load_record(client: Client, run: Run) -> Record | None:
    """The record that a closed run left; if it was ended from outside, what a replay of it says; `None` if it had none.

    A run that ended before it was opened hands on the record of the run before it.
    """
    record = (await closing_of(client, run)).record
    if record is None and run.ended_from_outside and await was_taken_up(client, run):
        answer = await ask(client, run, GET_RECORD, {})
        record = Record.model_validate(answer) if answer is not None else None
    if record is not None:
        return record
    options = await start_options(client, run)
    if options.record is not None:
        return options.record
    before = await run_before(client, run)
    return await load_record(client, before) if before is not None else None


async def was_taken_up(client: Client, run: Run) -> bool:
    """Whether a worker ever did anything for a run; otherwise there is nothing that a query could ask."""
    handle = client.get_workflow_handle(run.thread_id, run_id=run.run_id)
    events = handle.fetch_history_events(page_size=10)
    return any([event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED async for event in events])


async def run_before(client: Client, run: Run) -> Run | None:
    """The thread's run before this one: as its start names it; for one started by hand, as visibility has it."""
    options = await start_options(client, run)
    if options.after is not None or options.caller is not None:
        return await latest_run(client, run.thread_id, options.after) if options.after else None
    known = await runs_of(client, run.thread_id, limit=RUNS_LOOKED_AT)
    return next((other for other in known if other.start_time < run.start_time), None)


async def record_at(client: Client, thread_id: str, checkpoint_id: str) -> Record:
    """The record of a checkpoint, wherever in the thread it was made: what a fork of it needs.

    Raises:
        CheckpointNotFoundError: the thread has no such checkpoint.
        CheckpointExpiredError: retention has removed it.
    """
    run = await run_holding(client, thread_id, checkpoint_id)
    if not run.is_open:
        record = (await closing_of(client, run)).record
        if record is not None and record.checkpoint.id == checkpoint_id and "writes" not in record.omitted:
            return record
    return Record.model_validate(await ask(client, run, GET_RECORD, {"checkpoint_id": checkpoint_id}))


async def run_holding(client: Client, thread_id: str, checkpoint_id: str) -> Run:
    """The run that made a checkpoint: its id says which. Raises like `record_at`."""
    run_id = checkpoint_id.rpartition(".")[0]
    try:
        made = uuid.UUID(run_id)
    except ValueError:
        made = None
    run = await latest_run(client, thread_id, run_id) if made is not None else None
    if run is not None:
        return run
    if made is not None and made.version == 7 and await _retention_is_over(client, made):
        raise CheckpointExpiredError(
            f"Checkpoint {checkpoint_id!r} of thread {thread_id!r} is gone: "
            f"the namespace's retention has removed run {run_id}.",
            thread_id=thread_id,
            run_id=run_id,
        )
    raise not_found(thread_id, checkpoint_id)


async def _retention_is_over(client: Client, made: uuid.UUID) -> bool:
    answer = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
    kept = answer.config.workflow_execution_retention_ttl.ToTimedelta()
    made_at = datetime.fromtimestamp((made.int >> 80) / 1000, UTC)
    return made_at < datetime.now(UTC) - kept


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


async def ask(
    client: Client, run: Run, query: str, request: Mapping[str, Any], *, timeout: timedelta = QUERY_TIMEOUT
) -> Any:
    """The answer to a query, put together from its pages; a `StepgraphError` in it is raised."""
    handle = client.get_workflow_handle(run.thread_id, run_id=run.run_id)
    pages = Pages()
    while pages.wanted is not None:
        asked = {**request, "page": pages.wanted}
        try:
            answer = await handle.query(query, to_raw(asked), result_type=RawValue, rpc_timeout=timeout / 2)
        except RPCError as error:
            if error.status is not RPCStatusCode.DEADLINE_EXCEEDED:
                raise
            # a worker that drops a run from its cache may drop a question with it
            answer = await handle.query(query, to_raw(asked), result_type=RawValue, rpc_timeout=timeout)
        pages.take(from_raw(answer))
    if isinstance(pages.answer, dict) and "error" in pages.answer:
        raise from_wire(pages.answer["error"])
    return pages.answer


async def _closing(client: Client, event: HistoryEvent) -> Closing:
    converter = client.data_converter
    if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
        payloads = event.workflow_execution_completed_event_attributes.result.payloads
        return _closing_of_result(await converter.decode(payloads, [RawValue] * len(payloads)))
    if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
        failure = event.workflow_execution_failed_event_attributes.failure
        return _closing_of_failure(await converter.decode_failure(failure))
    if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
        attributes = event.workflow_execution_continued_as_new_event_attributes
        _, raw = await converter.decode(attributes.input.payloads, [RawValue, RawValue])
        options = StartOptions.model_validate(from_raw(raw))
        return Closing(
            options.record,
            from_wire(options.error) if options.error else None,
            continued_as=attributes.new_execution_run_id,
            grew_long=options.turn is None,
        )
    return Closing(ended=_ENDED.get(event.event_type))


def _closing_of_result(results: list[RawValue]) -> Closing:
    """A record, or a refusal; neither, for a workflow that is none of stepgraph's."""
    try:
        result = from_raw(results[0]) if results else None
        if isinstance(result, dict) and "refused" in result:
            refusal = Refusal.model_validate(result)
            return Closing(refusal.record, from_wire(refusal.refused))
        return Closing(None if result is None else Record.model_validate(result))
    except ValidationError:
        return Closing()


def _closing_of_failure(error: BaseException) -> Closing:
    """What a run's failure says: its error and its record, if stepgraph failed it."""
    told, record = error.details if isinstance(error, ApplicationError) and len(error.details) == 2 else (None, None)
    if not isinstance(told, dict) or "message" not in told:
        return Closing(fault=str(error))
    assert isinstance(error, ApplicationError)
    if error.failure is not None and error.failure.stack_trace:
        told = {**told, "parts": {"traceback": error.failure.stack_trace, **(told.get("parts") or {})}}
    return Closing(None if record is None else Record.model_validate(record), from_wire(told))
