"""The activity that runs several super-steps in a row: ``research.steps``.

Owns what Temporal asks of it: progress in heartbeats, from which another attempt goes on; an early end when the worker
stops or the run is told to. What is run, and how far, is `stepgraph.execution.fused_steps`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import Executor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from pydantic import ValidationError
from temporalio import activity
from temporalio.common import RawValue

from stepgraph.execution.fused_steps import StepRow, StepsAnswer, StepsRequest
from stepgraph.execution.registry import GraphCode
from stepgraph.serde.sizes import PAYLOAD_LIMIT, limit_for
from stepgraph.serde.type_codec import first_line
from stepgraph.temporal.logs import get_logger
from stepgraph.temporal.payloads import failure, to_raw
from stepgraph.temporal.storage import stores
from stepgraph_activities.cancellable_thread import on_a_thread
from stepgraph_activities.heartbeats import heartbeats
from stepgraph_activities.state_source import StateUnavailableError, state_of

log = get_logger("steps")


class StepsActivity:
    """Runs super-steps of the graphs a worker has."""

    def __init__(self, graphs: Mapping[str, GraphCode], executor: Executor) -> None:
        self._graphs = dict(graphs)
        self._executor = executor

    async def run(self, request: StepsRequest) -> RawValue:
        """One attempt; an earlier one's progress is taken over."""
        info = activity.info()
        code = self._graphs.get(request.graph)
        if code is None or code.spec.hash != request.spec_hash:
            return to_raw(StepsAnswer(unknown=True).model_dump(mode="json", exclude_defaults=True))
        try:
            state = await state_of(request)
        except StateUnavailableError as error:
            raise failure(
                str(error), type=type(error).__name__, non_retryable=False, next_retry_delay=timedelta(seconds=1)
            ) from error
        bound = log.bind(graph=request.graph, thread=request.thread_id, run=request.run_id, attempt=info.attempt)
        row: StepRow | None = None
        try:
            row = StepRow(
                code,
                request,
                state,
                run_sync=partial(on_a_thread, self._executor),
                clock=lambda: datetime.now(UTC).isoformat(),
                limit=limit_for(stored=request.stored and stores(activity.client())),
            )
            if (done := _told_before(info)) is not None:
                row.go_on_after(done)
                bound.info("steps go on", after=done.ran)
            await _run(row, info, bound)
            answer = row.answer
        except Exception as error:  # no node's, and another attempt would meet it again: a task of its own tells of it
            bound.warning("steps end early", error=f"{type(error).__name__}: {first_line(error)}")
            so_far = row.answer if row is not None else StepsAnswer()
            answer = so_far.model_copy(update={"alone": True})
        for task, why in answer.failures.items():
            bound.warning("node failed", node=task, error=why.summary)
        bound.info("steps done", ran=answer.ran)
        return to_raw(_plain(answer))


async def _run(row: StepRow, info: activity.Info, bound: Any) -> None:
    """Until the row ends, or is told to; a worker that stops hands it on."""

    def progress() -> object:
        return _plain(row.told(PAYLOAD_LIMIT))

    try:
        async with heartbeats(info.heartbeat_timeout, progress):
            await row.run(told_to_stop=activity.is_worker_shutdown)
    except asyncio.CancelledError:
        if activity.is_worker_shutdown():
            activity.heartbeat(to_raw(progress()))  # another worker goes on from here
            bound.info("steps interrupted", done=row.answer.ran)
            raise


def _plain(answer: StepsAnswer) -> object:
    return answer.model_dump(mode="json", exclude_defaults=True)


def _told_before(info: activity.Info) -> StepsAnswer | None:
    """What an earlier attempt's last heartbeat told."""
    if not info.heartbeat_details:
        return None
    try:
        return StepsAnswer.model_validate(info.heartbeat_details[0])
    except ValidationError:  # another version's
        return None
