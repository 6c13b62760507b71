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

from stepgraph.execution.fused_steps import FusedSteps
from stepgraph.execution.registry import GraphRegistry
from stepgraph.protocol.fused_run import FusedStepsRequest, FusedStepsResult
from stepgraph.serde.error_text import first_line
from stepgraph.serde.sizes import PAYLOAD_LIMIT, size_limit
from stepgraph.temporal.logs import get_logger
from stepgraph.temporal.payloads import failure, to_raw
from stepgraph.temporal.storage import uses_storage
from stepgraph_activities.cancellable_thread import run_on_thread
from stepgraph_activities.heartbeats import heartbeats
from stepgraph_activities.state_source import StateUnavailableError, state_of

log = get_logger("steps")


class StepsActivity:
    """Runs super-steps of the graphs a worker has."""

    def __init__(self, graphs: Mapping[str, GraphRegistry], executor: Executor) -> None:
        self._graphs = dict(graphs)
        self._executor = executor

    async def run(self, request: FusedStepsRequest) -> RawValue:
        """One attempt; an earlier one's progress is taken over."""
        info = activity.info()
        registry = self._graphs.get(request.graph)
        if registry is None or registry.spec.hash != request.spec_hash:
            return to_raw(FusedStepsResult(spec_mismatch=True).model_dump(mode="json", exclude_defaults=True))
        try:
            state = await state_of(request)
        except StateUnavailableError as error:
            raise failure(
                str(error), type=type(error).__name__, non_retryable=False, next_retry_delay=timedelta(seconds=1)
            ) from error
        bound = log.bind(graph=request.graph, thread=request.thread_id, run=request.run_id, attempt=info.attempt)
        row: FusedSteps | None = None
        try:
            row = FusedSteps(
                registry,
                request,
                state,
                run_sync=partial(run_on_thread, self._executor),
                clock=lambda: datetime.now(UTC).isoformat(),
                limit=size_limit(
                    uses_external_storage=request.uses_external_storage and uses_storage(activity.client())
                ),
            )
            if (done := _told_before(info)) is not None:
                row.go_on_after(done)
                bound.info("steps go on", after=done.ran)
            await _run(row, info, bound)
            answer = row.answer
        except Exception as error:  # no node's, and another attempt would meet it again: a task of its own tells of it
            bound.warning("steps end early", error=f"{type(error).__name__}: {first_line(error)}")
            so_far = row.answer if row is not None else FusedStepsResult()
            answer = so_far.model_copy(update={"run_individually": True})
        for task, why in answer.failures.items():
            bound.warning("node failed", node=task, error=why.summary)
        bound.info("steps done", ran=answer.ran)
        return to_raw(_plain(answer))


async def _run(row: FusedSteps, info: activity.Info, bound: Any) -> None:
    """Until the row ends, or is told to; a worker that stops hands it on."""

    def progress() -> object:
        return _plain(row.told(PAYLOAD_LIMIT))

    try:
        async with heartbeats(info.heartbeat_timeout, progress):
            await row.run(should_stop=activity.is_worker_shutdown)
    except asyncio.CancelledError:
        if activity.is_worker_shutdown():
            activity.heartbeat(to_raw(progress()))  # another worker goes on from here
            bound.info("steps interrupted", done=row.answer.ran)
            raise


def _plain(answer: FusedStepsResult) -> object:
    return answer.model_dump(mode="json", exclude_defaults=True)


def _told_before(info: activity.Info) -> FusedStepsResult | None:
    """What an earlier attempt's last heartbeat told."""
    if not info.heartbeat_details:
        return None
    try:
        return FusedStepsResult.model_validate(info.heartbeat_details[0])
    except ValidationError:  # another version's
        return None
