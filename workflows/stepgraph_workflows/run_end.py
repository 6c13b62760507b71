"""How a run ends: with the thread's record as its result, in its failure, or in the arguments of the next run.

All of these have to fit into what a server takes of one command, or the workflow task fails again and again.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any, NoReturn

from temporalio import workflow
from temporalio.common import RawValue

from stepgraph.engine.recent_history import with_recent_history
from stepgraph.engine.record import RECORD_LIMIT, Record, record_of, within_limit
from stepgraph.errors import StepgraphError
from stepgraph.protocol.start_options import WORKFLOW_TASK_SECONDS, CommandRefused, StartOptions
from stepgraph.serde.plain_json import json_size
from stepgraph.temporal.payloads import failure, to_raw
from stepgraph_workflows.input_queue import shortened
from stepgraph_workflows.publisher import graph_attribute
from stepgraph_workflows.run_state import RunState

COMMAND_LIMIT = 2_080_000
"""Bytes that a failure, or the arguments of the next run, may have: servers refuse 2 MiB, and count some metadata."""

SHORT_TRACEBACK = 2_000
"""Characters of a traceback that are left where the record needs the room."""


def end_run(state: RunState, error: StepgraphError | None, *, is_refusal: bool) -> RawValue:
    """Leave the thread's record, and the error if there is one; or begin the next input of the queue.

    Args:
        state: the run's state.
        error: why the run ends; `None` if the graph has finished, or the run has done what it was started for.
        is_refusal: whether the error refuses the command that the run was started for.

    Raises:
        FailureError: the run fails with the error.
    """
    thread, record = state.restored_thread, _record_to_leave(state)
    if state.inputs and state.opening is not None:
        _begin_next_input(state, record, error)
    repeats = _stores_externally(state)
    graph = record.graph if record is not None else workflow.info().workflow_type
    if error is not None and is_refusal:
        state.publish(more=[graph_attribute(graph)])
        state.publisher.log("command refused", error=error)
        return to_raw(CommandRefused(refused=error.to_wire(), record=record), repeats=repeats)
    if error is not None:
        more = [] if state.has_begun else [graph_attribute(graph)]
        state.publish(more, has_error=True)
        fail_run(state, error, record)
    state.publish()
    state.publisher.log("graph has finished" if thread is not None and thread.finished else "run ends")
    return to_raw(record, repeats=repeats)


def end_after_fault(state: RunState, fault: StepgraphError) -> NoReturn:
    """End a run whose record or whose next arguments could not be encoded: begin the next input, or fail.

    The thread goes on from this run's record if that can be encoded, otherwise from the record of the run before.
    """
    record = None
    with suppress(Exception):
        whole = _record_to_leave(state)
        to_raw(whole)
        record = whole
    if state.inputs and state.opening is not None:
        with suppress(Exception):
            _begin_next_input(state, record, fault)
    with suppress(Exception):
        state.publish(has_error=True)
    fail_run(state, fault, record)


def fail_run(state: RunState, error: StepgraphError, record: Record | None) -> NoReturn:
    """Fail the run with an error, and with the record in the failure's details."""
    checkpoint_id = record.checkpoint.id if record else None
    state.publisher.log("run failed", checkpoint_id=checkpoint_id, error=error)
    data = error.to_wire()
    stack_trace = str(data["parts"].pop("traceback", ""))  # the node's own; the client puts it back
    if record is not None and not _stores_externally(state):
        if json_size([data, data["message"], stack_trace, record]) > COMMAND_LIMIT:
            data, stack_trace = shortened(error), stack_trace[-SHORT_TRACEBACK:]
            data["parts"].pop("traceback", None)
        others = json_size([data, data["message"], stack_trace])
        record = within_limit(record, min(RECORD_LIMIT, COMMAND_LIMIT - others))
    if not state.has_begun:
        data["refused"] = True
    raise failure(data["message"], data, record, type=type(error).__name__, stack_trace=stack_trace) from None


def next_arguments(state: RunState, input_data: Any, options: StartOptions) -> list[RawValue]:
    """Return the arguments of the next run, in which the record has what room the rest leaves."""
    stores_externally = _stores_externally(state)
    arguments = [to_raw(input_data), to_raw(options, repeats=stores_externally)]
    excess = sum(len(argument.payload.data) for argument in arguments) - COMMAND_LIMIT
    continued = options.continued
    if excess <= 0 or stores_externally or continued is None or continued.record is None:
        return arguments
    record = within_limit(continued.record, json_size(continued.record) - excess)
    options = options.model_copy(update={"continued": continued.model_copy(update={"record": record})})
    return [arguments[0], to_raw(options)]


def begin_next_run(state: RunState, arguments: list[RawValue]) -> NoReturn:
    """Continue as new."""
    thread = state.thread
    state.publisher.log("run continues as new", step=thread.head.step if thread.head else None)
    seconds = timedelta(seconds=WORKFLOW_TASK_SECONDS) if thread.uses_external_storage else None
    workflow.continue_as_new(args=arguments, task_timeout=seconds)


def _record_to_leave(state: RunState) -> Record | None:
    """Return the record of the thread; of a thread that was not restored, the one that the run has found."""
    if state.restored_thread is None:
        return state.opening.record if state.opening is not None else None
    return with_recent_history(record_of(state.restored_thread), state.restored_thread)


def _begin_next_input(state: RunState, record: Record | None, error: StepgraphError | None) -> NoReturn:
    """Continue as new with the first input of the queue."""
    arguments = next_arguments(state, *state.inputs.next_run(workflow.info().run_id, record, error))
    state.publisher.log("next queued input begins", error=error)
    workflow.continue_as_new(args=arguments)


def _stores_externally(state: RunState) -> bool:
    return state.opening is not None and state.settings.uses_external_storage
