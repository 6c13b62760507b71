"""The three local activities of a run. Each returns data that the history records, so a replay works from the same.

The workflow calls no other local activity. While one is under way, no update may be accepted (see `CommandQueue`).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, FailureError

from stepgraph.engine.record import Record
from stepgraph.errors import StepgraphError, from_wire
from stepgraph.execution.apply_command import CommandIO
from stepgraph.protocol.names import OPEN_THREAD, READ_CHECKPOINT, ROUTE
from stepgraph.protocol.opening import Opening, OpenRequest, ReadRequest
from stepgraph.protocol.start_options import StartOptions
from stepgraph.protocol.task_request import RouteRequest
from stepgraph.temporal.payloads import from_raw, to_raw

_ONCE = RetryPolicy(maximum_attempts=1)
_FIVE_TIMES = RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_attempts=5)
_TWENTY_TIMES = RetryPolicy(
    initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=10), maximum_attempts=20
)


async def open_thread(options: StartOptions) -> Opening:
    """Return the spec, the settings and the thread's record that this run works from.

    Raises:
        StepgraphError: the record of the thread's previous run could not be read.
    """
    info = workflow.info()
    record = options.continued.record if options.continued is not None else None
    request = OpenRequest(
        graph=info.workflow_type,
        thread_id=info.workflow_id,
        run_id=info.run_id,
        after=options.after,
        by_client=options.caller is not None,
        has_record=record is not None,
    )
    try:
        answer = await _call(OPEN_THREAD, request, timedelta(seconds=30), _TWENTY_TIMES, "open the thread")
    except FailureError as error:
        raise StepgraphError(
            f"Thread {info.workflow_id!r} could not be restored from its previous run, {options.after}: "
            f"{error.cause or error}. Nothing was run; try again.",
            thread_id=info.workflow_id,
        ) from error
    opening = Opening.model_validate(answer)
    return opening if record is None else opening.model_copy(update={"record": record})


async def _read_checkpoint(request: ReadRequest) -> Record:
    try:
        answer = await _call(READ_CHECKPOINT, request, timedelta(seconds=60), _FIVE_TIMES, "read a checkpoint")
    except FailureError as error:
        raise _own_error(error) from error
    return Record.model_validate(answer)


async def _call_routers(request: RouteRequest) -> tuple[str, ...]:
    summary = f"routers of {request.task.node}"
    try:
        return tuple(await _call(ROUTE, request, timedelta(minutes=5), _ONCE, summary))
    except FailureError as error:
        raise _own_error(error) from error


COMMAND_IO = CommandIO(read_checkpoint=_read_checkpoint, call_routers=_call_routers)
"""What commands need beyond their thread, by local activities."""


async def _call(name: str, request: Any, timeout: timedelta, retry_policy: RetryPolicy, summary: str) -> Any:
    answer = await workflow.execute_local_activity(
        name,
        to_raw(request),
        result_type=RawValue,
        start_to_close_timeout=timeout,
        retry_policy=retry_policy,
        summary=summary,
    )
    return from_raw(answer)


def _own_error(error: FailureError) -> StepgraphError:
    """Return the error that a local activity raised. The SDK passes its failure bare, or inside an `ActivityError`."""
    cause = error.cause if isinstance(error, ActivityError) else error
    if isinstance(cause, ApplicationError) and cause.details and isinstance(cause.details[0], dict):
        return from_wire(cause.details[0])
    return StepgraphError(f"The update could not be made: {cause}")
