"""The activities of a run for its thread as a whole. Each returns data that the history records.

`open_thread` and the reading of checkpoints are local activities: the run's own worker does them. While one is under
way, no update may be accepted (see `CommandQueue`). `apply_writes` calls the graph's code, so it is an ordinary one, on
the task queue of workers that have it.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError, FailureError

from stepgraph.drive.thread_io import ThreadIO
from stepgraph.engine.record import Record
from stepgraph.engine.thread import Thread
from stepgraph.errors import StepgraphError, UnknownFormatError, UnknownGraphError, from_wire, suggest
from stepgraph.protocol.activity_input import to_activity_input
from stepgraph.protocol.apply_writes_request import ApplyWritesRequest, ApplyWritesResult
from stepgraph.protocol.names import OPEN_THREAD, READ_CHECKPOINT, apply_writes_type
from stepgraph.protocol.opening import Opening, OpenRequest, ReadRequest, RunSettings
from stepgraph.protocol.start_options import StartOptions
from stepgraph.protocol.task_request import HEARTBEAT_TIMEOUT
from stepgraph.serde.error_text import first_line
from stepgraph.serde.plain_json import json_size
from stepgraph.serde.sizes import check_size, size_limit
from stepgraph.temporal.payloads import from_raw, to_raw
from stepgraph_workflows.task_dispatch import RETRIES, travels_inline

_FIVE_TIMES = RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_attempts=5)
_TWENTY_TIMES = RetryPolicy(
    initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=10), maximum_attempts=20
)

OTHER_WORKER_TIMEOUT = timedelta(seconds=20)
"""How long a run waits for a worker of the graph's own task queue to tell the graph's spec."""

APPLY_WRITES_TIMEOUT = timedelta(minutes=10)
"""How long one attempt to fold writes and to ask routers may take."""

APPLY_WRITES_HEARTBEAT = timedelta(seconds=HEARTBEAT_TIMEOUT)


async def open_thread(options: StartOptions) -> Opening:
    """Return the spec, the settings and the thread's record that this run works from.

    If this worker lacks the graph, a worker of the graph's own task queue tells them.

    Raises:
        StepgraphError: the record of the thread's previous run could not be read.
        UnknownGraphError: no worker has the graph.
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
        task_queue=info.task_queue,
    )
    try:
        opening = Opening.model_validate(
            await _call_locally(OPEN_THREAD, request, timedelta(seconds=30), _TWENTY_TIMES, "open the thread")
        )
    except FailureError as error:
        raise StepgraphError(
            f"Thread {info.workflow_id!r} could not be restored from its previous run, {options.after}: "
            f"{error.cause or error}. Nothing was run; try again.",
            thread_id=info.workflow_id,
        ) from error
    if opening.spec is None and opening.settings.task_queue is not None:
        opening = await _open_elsewhere(request, opening, opening.settings.task_queue)
    if opening.spec is None:
        raise UnknownGraphError(
            f"This worker has no graph {info.workflow_type!r}.{suggest(info.workflow_type, opening.known)} "
            "Start a worker with its code on a task queue of its own, or fix the name.",
            graph=info.workflow_type,
            known=list(opening.known),
        )
    return opening if record is None else opening.model_copy(update={"record": record})


async def _open_elsewhere(request: OpenRequest, opening: Opening, task_queue: str) -> Opening:
    """Return what a worker of the graph's own task queue tells; without its spec if none answers in time."""
    try:
        answer = await workflow.execute_activity(
            OPEN_THREAD,
            to_raw(request),
            result_type=RawValue,
            task_queue=task_queue,
            schedule_to_start_timeout=OTHER_WORKER_TIMEOUT,
            start_to_close_timeout=timedelta(seconds=30),
            retry_policy=_FIVE_TIMES,
            summary="open the thread",
        )
    except ActivityError:
        return opening
    elsewhere = Opening.model_validate(from_raw(answer))
    settings = elsewhere.settings.model_copy(update={"task_queue": task_queue})
    return elsewhere.model_copy(update={"settings": settings})


async def _read_checkpoint(request: ReadRequest) -> Record:
    try:
        answer = await _call_locally(READ_CHECKPOINT, request, timedelta(seconds=60), _FIVE_TIMES, "read a checkpoint")
    except FailureError as error:
        raise _own_error(error) from error
    return Record.model_validate(answer)


def thread_io(settings: RunSettings) -> ThreadIO:
    """Return what commands and commits need beyond their thread, by activities."""

    async def apply_writes(thread: Thread, request: ApplyWritesRequest) -> ApplyWritesResult:
        request = _by_reference(thread, request, settings)
        try:
            answer = await workflow.execute_activity(
                apply_writes_type(thread.spec.name),
                to_raw(to_activity_input(request)),
                result_type=RawValue,
                task_queue=settings.task_queue,
                start_to_close_timeout=APPLY_WRITES_TIMEOUT,
                heartbeat_timeout=APPLY_WRITES_HEARTBEAT,
                retry_policy=RETRIES,
                cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
                summary=f"step {request.step} · apply writes",
            )
        except ActivityError as error:
            raise _own_error(error) from error
        task = asyncio.current_task()
        if task is not None and task.cancelling():  # the run is cancelled, but its reducer has finished all the same
            raise asyncio.CancelledError
        try:
            return ApplyWritesResult.model_validate(from_raw(answer))
        except (ValueError, UnknownFormatError) as error:  # pydantic's, too
            raise StepgraphError(
                f"The worker of graph {thread.spec.name!r} runs another version of stepgraph: {first_line(error)}."
            ) from error

    return ThreadIO(read_checkpoint=_read_checkpoint, apply_writes=apply_writes)


def _by_reference(thread: Thread, request: ApplyWritesRequest, settings: RunSettings) -> ApplyWritesRequest:
    """Return the request without values and writes that are too large for it, if the activity can query for them.

    Raises:
        PayloadTooLargeError: they are of another run, so the activity cannot query for them, and too large to send.
    """
    checkpoint = thread.find(request.checkpoint_id)
    at_head = checkpoint is not None and checkpoint is thread.head
    if checkpoint is not None and json_size(request.state) > settings.inline_bytes:
        if at_head:
            travels_inline(thread, settings)  # puts the values into this process's cache
        request = request.model_copy(update={"state": None})
    are_recorded = {author.key: author.result for author in request.authors or ()} == thread.results
    if at_head and are_recorded and json_size(request.authors) > settings.inline_bytes:
        request = request.model_copy(update={"authors": None})
    sizes = {"the values": json_size(request.state), "the writes": json_size(request.authors)}
    limit = size_limit(uses_external_storage=thread.uses_external_storage)
    check_size(f"What the reducers and routers of thread {thread.thread_id!r} need", sizes, limit=limit)
    return request


async def _call_locally(name: str, request: Any, timeout: timedelta, retry_policy: RetryPolicy, summary: str) -> Any:
    answer = await workflow.execute_local_activity(
        name,
        to_raw(request),
        result_type=RawValue,
        start_to_close_timeout=timeout,
        retry_policy=retry_policy,
        summary=summary,
    )
    return from_raw(answer)


def _own_error(error: FailureError) -> BaseException:
    """Return the error that an activity raised. The SDK passes a local one's failure bare, or in an `ActivityError`."""
    cause = error.cause if isinstance(error, ActivityError) else error
    if isinstance(cause, CancelledError):  # Temporal has cancelled the run
        return asyncio.CancelledError()
    if isinstance(cause, ApplicationError) and cause.details and isinstance(cause.details[0], dict):
        return from_wire(cause.details[0], as_own_type=False)
    return StepgraphError(f"An activity for the thread failed: {cause or error}")
