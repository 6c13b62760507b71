"""Reads how a run ended, from the last event of its history alone: no worker and no replay are needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowHistoryEventFilterType
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from stepgraph.engine.record import Record
from stepgraph.errors import StepgraphError, UnknownFormatError, from_wire
from stepgraph.protocol.start_options import CommandRefused, ContinuedRun, StartOptions
from stepgraph.protocol.thread_errors import failure_reason
from stepgraph.serde.error_text import first_line
from stepgraph.temporal.executions import Run
from stepgraph.temporal.payloads import from_raw

_EXTERNAL_ENDS = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED: "cancelled",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED: "terminated",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT: "timed out",
}


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended. All fields are at their defaults for a run that is open, or that is not stepgraph's."""

    record: Record | None = None
    """The record that the run left; `None` if it left none."""
    error: StepgraphError | None = None
    """The error that the run's caller gets; `None` if the graph is done or waits."""
    refused: bool = False
    """Whether the run has refused what it was started for: nothing was done."""
    continued_as: str | None = None
    """The run id of the next run, if this one continued as new."""
    continued_for_size: bool = False
    """Whether that run goes on with the same input; otherwise it begins with the next queued input."""
    ended: str | None = None
    """How the run was ended externally: ``cancelled``, ``terminated`` or ``timed out``. Otherwise `None`."""
    fault: str | None = None
    """The text of the failure, if the run failed with an error that is not stepgraph's."""
    is_damaged: bool = False
    """Whether the run left a record that cannot be read. A replay of the run makes another."""
    reason: str | None = None
    """Why the run failed, as a sentence, unless a task's own failure tells it; `None` if the run has not failed."""


async def outcome_of(client: Client, run: Run) -> RunOutcome:
    """Return how a run ended. If it is open, wait for its end."""
    return await await_outcome(client, run.thread_id, run.run_id)


async def await_outcome(client: Client, thread_id: str, run_id: str) -> RunOutcome:
    """Return how the run with these ids ended. If it is open, wait for its end."""
    handle = client.get_workflow_handle(thread_id, run_id=run_id)
    events = handle.fetch_history_events(
        wait_new_event=True, event_filter_type=WorkflowHistoryEventFilterType.CLOSE_EVENT
    )
    async for event in events:
        return await _outcome_from_event(client, event)
    return RunOutcome()


async def current_outcome(client: Client, thread_id: str) -> RunOutcome:
    """Return how the thread's latest run ended; an empty outcome if it is open, or if the thread has no run."""
    events = client.get_workflow_handle(thread_id).fetch_history_events(
        event_filter_type=WorkflowHistoryEventFilterType.CLOSE_EVENT
    )
    try:
        async for event in events:
            return await _outcome_from_event(client, event)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
    return RunOutcome()


async def _outcome_from_event(client: Client, event: HistoryEvent) -> RunOutcome:
    try:
        return await _decoded_outcome(client, event)
    except StepgraphError:
        raise
    except Exception as error:  # the payload converter's, or a codec's
        raise _unreadable(error) from error


async def _decoded_outcome(client: Client, event: HistoryEvent) -> RunOutcome:
    """Return the outcome in a run's last event. Raises whatever the client's data converter does."""
    converter = client.data_converter
    if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
        payloads = event.workflow_execution_completed_event_attributes.result.payloads
        return _outcome_from_result(await converter.decode(payloads, [RawValue] * len(payloads)))
    if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
        failure = event.workflow_execution_failed_event_attributes.failure
        return _outcome_from_failure(await converter.decode_failure(failure))
    if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
        attributes = event.workflow_execution_continued_as_new_event_attributes
        _, raw_options = await converter.decode(attributes.input.payloads, [RawValue, RawValue])
        try:
            options = StartOptions.model_validate(from_raw(raw_options))
        except ValueError as error:  # pydantic's, too
            raise StepgraphError(
                f"A run of the thread continued as new with options that cannot be read: {first_line(error)}. They are "
                "damaged, or this process lacks the deployment's payload codec. Read the thread with the codec, or "
                "fork it from an earlier checkpoint."
            ) from error
        continued = options.continued or ContinuedRun()
        return RunOutcome(
            continued.record,
            from_wire(continued.error) if continued.error else None,
            continued_as=attributes.new_execution_run_id,
            continued_for_size=continued.queued_input_id is None,
        )
    return RunOutcome(ended=_EXTERNAL_ENDS.get(event.event_type))


def _outcome_from_result(results: list[RawValue]) -> RunOutcome:
    """Read a run's result: a record, a refused command, or nothing if the workflow is not stepgraph's."""
    try:
        result = from_raw(results[0]) if results else None
    except ValueError as error:
        raise _unreadable(error) from error
    try:
        if isinstance(result, dict) and "refused" in result:
            refusal = CommandRefused.model_validate(result)
            return RunOutcome(refusal.record, from_wire(refusal.refused))
        return RunOutcome(None if result is None else Record.model_validate(result))
    except (ValueError, UnknownFormatError):  # pydantic's, too
        return RunOutcome(is_damaged=_is_meant_as_record(result))


def _unreadable(error: Exception) -> StepgraphError:
    return StepgraphError(
        f"What a run of the thread left cannot be read: {first_line(error)}. If a payload codec made it, this process "
        "lacks that codec: give it to the client, Client.connect(..., data_converter=...)."
    )


def _is_meant_as_record(result: Any) -> bool:
    """Return whether a result that is no record looks like one. The result of a workflow of others does not."""
    return isinstance(result, Mapping) and {"checkpoint", "graph", "run_id"} <= result.keys()


def _outcome_from_failure(error: BaseException) -> RunOutcome:
    """Read a run's failure. If stepgraph raised it, its details are the error and the record, as JSON data."""
    details = error.details if isinstance(error, ApplicationError) and len(error.details) == 2 else (None, None)
    wire_error, record = details
    if not isinstance(wire_error, dict) or "message" not in wire_error:
        return RunOutcome(fault=str(error), reason=f"The latest run failed: {error}")
    assert isinstance(error, ApplicationError)
    if error.failure is not None and error.failure.stack_trace:
        parts = {"traceback": error.failure.stack_trace, **(wire_error.get("parts") or {})}
        wire_error = {**wire_error, "parts": parts}
    own_error, refused = from_wire(wire_error), bool(wire_error.get("refused"))
    try:
        own_record = None if record is None else Record.model_validate(record)
    except (ValueError, UnknownFormatError):
        own_record = None
    return RunOutcome(
        own_record,
        own_error,
        refused=refused,
        is_damaged=record is not None and own_record is None,
        reason=failure_reason(own_error, was_refused=refused),
    )
