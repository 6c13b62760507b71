"""How a run ended, read from its last event alone."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import (
    Client,
    WorkflowHistoryEventFilterType,
)
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from stepgraph.engine.record import Record
from stepgraph.errors import StepgraphError, from_wire
from stepgraph.protocol.start_options import CommandRefused, ContinuedRun, StartOptions
from stepgraph.temporal.executions import Run
from stepgraph.temporal.payloads import from_raw

_ENDED = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED: "cancelled",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED: "terminated",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT: "timed out",
}


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended."""

    record: Record | None = None
    error: StepgraphError | None = None
    continued_as: str | None = None
    """The run that followed at once."""
    continued_for_size: bool = False
    """Whether that one goes on with the same; otherwise it begins the next input in line."""
    ended: str | None = None
    """What it was from outside: ``cancelled``, ``terminated`` or ``timed out``."""
    fault: str | None = None
    """What it failed with, where that is no error of stepgraph's."""


async def outcome_of(client: Client, run: Run) -> RunOutcome:
    """How a closed run ended, from its last event alone: no worker, no replay."""
    return await await_outcome(client, run.thread_id, run.run_id)


async def await_outcome(client: Client, thread_id: str, run_id: str) -> RunOutcome:
    """The same for a run of which only the ids are known; waits for the end of one that is open."""
    handle = client.get_workflow_handle(thread_id, run_id=run_id)
    events = handle.fetch_history_events(
        wait_new_event=True, event_filter_type=WorkflowHistoryEventFilterType.CLOSE_EVENT
    )
    async for event in events:
        return await _closing(client, event)
    return RunOutcome()


async def current_outcome(client: Client, thread_id: str) -> RunOutcome:
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
    return RunOutcome()


async def _closing(client: Client, event: HistoryEvent) -> RunOutcome:
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
        continued = options.continued or ContinuedRun()
        return RunOutcome(
            continued.record,
            from_wire(continued.error) if continued.error else None,
            continued_as=attributes.new_execution_run_id,
            continued_for_size=continued.queued_input_id is None,
        )
    return RunOutcome(ended=_ENDED.get(event.event_type))


def _closing_of_result(results: list[RawValue]) -> RunOutcome:
    """A record, or a refusal; neither, for a workflow that is none of stepgraph's."""
    try:
        result = from_raw(results[0]) if results else None
        if isinstance(result, dict) and "refused" in result:
            refusal = CommandRefused.model_validate(result)
            return RunOutcome(refusal.record, from_wire(refusal.refused))
        return RunOutcome(None if result is None else Record.model_validate(result))
    except ValidationError:
        return RunOutcome()


def _closing_of_failure(error: BaseException) -> RunOutcome:
    """What a run's failure says: its error and its record, if stepgraph failed it."""
    told, record = error.details if isinstance(error, ApplicationError) and len(error.details) == 2 else (None, None)
    if not isinstance(told, dict) or "message" not in told:
        return RunOutcome(fault=str(error))
    assert isinstance(error, ApplicationError)
    if error.failure is not None and error.failure.stack_trace:
        told = {**told, "parts": {"traceback": error.failure.stack_trace, **(told.get("parts") or {})}}
    return RunOutcome(None if record is None else Record.model_validate(record), from_wire(told))
