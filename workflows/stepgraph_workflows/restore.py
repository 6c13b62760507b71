"""The beginning of a run: what it is to work from, and the thread as the run before left it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from pydantic import ValidationError
from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import FailureError

from stepgraph.engine.record import Record, thread_from
from stepgraph.engine.thread import Thread
from stepgraph.errors import GraphMismatchError, InvalidInputError, StepgraphError, UnknownGraphError, near_miss
from stepgraph.execution.registry import GraphCode
from stepgraph.protocol.wire import OPEN_THREAD, Opening, OpenRequest, StartOptions
from stepgraph.serde.type_codec import first_line
from stepgraph.temporal.payloads import from_raw, to_raw

RETRIES = RetryPolicy(
    initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=10), maximum_attempts=20
)


def arguments(args: Sequence[RawValue]) -> tuple[Any, StartOptions]:
    """The input and the options; both may be missing in a start made by hand."""
    try:
        given, options, *_ = [*(from_raw(arg) for arg in args), None, None]
        return given, StartOptions.model_validate(options or {})
    except (ValidationError, ValueError) as error:
        raise InvalidInputError(
            f"A run takes an input (a JSON object, or null to resume) and, optionally, options: {first_line(error)}."
        ) from error


async def open_run(options: StartOptions) -> Opening:
    """What `open_thread` says, which is recorded: a replay, on whichever worker, works from the same."""
    info = workflow.info()
    request = OpenRequest(
        graph=info.workflow_type,
        thread_id=info.workflow_id,
        run_id=info.run_id,
        after=options.after,
        by_client=options.caller is not None,
        has_record=options.record is not None,
    )
    try:
        answer = await workflow.execute_local_activity(
            OPEN_THREAD,
            to_raw(request),
            result_type=RawValue,
            start_to_close_timeout=timedelta(seconds=30),
            retry_policy=RETRIES,
            summary="open the thread",
        )
    except FailureError as error:
        raise StepgraphError(
            f"Thread {info.workflow_id!r} could not be taken up from its previous run, {options.after}: "
            f"{error.cause or error}. Nothing was run; try again.",
            thread_id=info.workflow_id,
        ) from error
    opening = Opening.model_validate(from_raw(answer))
    return opening if options.record is None else opening.model_copy(update={"record": options.record})


def take_up(opening: Opening, code: Callable[[], GraphCode]) -> Thread:
    """The thread as its previous run left it; ``code`` is asked for once it is clear that there is some."""
    info = workflow.info()
    if opening.spec is None:
        raise UnknownGraphError(
            f"This worker has no graph {info.workflow_type!r}.{near_miss(info.workflow_type, opening.known)} "
            "Start a worker with its code on a task queue of its own, or mend the name.",
            graph=info.workflow_type,
            known=list(opening.known),
        )
    if opening.record is not None and opening.record.graph != opening.spec.name:
        raise GraphMismatchError(
            f"Thread {info.workflow_id!r} belongs to graph {opening.record.graph!r}, not to {opening.spec.name!r}. "
            "Use another thread id.",
            thread_id=info.workflow_id,
            graph=opening.spec.name,
            thread_graph=opening.record.graph,
        )
    return thread_from(
        opening.record,
        opening.spec,
        code().schema.channels,
        thread_id=info.workflow_id,
        run_id=info.run_id,
        clock=lambda: workflow.now().isoformat(),
        stored=opening.settings.stored,
    )


def without_values(record: Record | None) -> Record | None:
    """A record that was taken up: the thread has its values, and an open run holds as little as it can."""
    return None if record is None else record.model_copy(update={"values": {}, "pending_values": {}, "results": {}})
