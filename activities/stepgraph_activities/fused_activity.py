"""The activity that runs fused super-steps: ``research.steps``.

Owns what Temporal needs: progress in heartbeats, from which another attempt goes on, and an early end when the worker
shuts down or the run cancels the activity. Which super-steps run, and how many, is decided by
`stepgraph.execution.fused_steps`.
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

from stepgraph.errors import UnknownFormatError
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
from stepgraph_activities.state_source import StateUnavailableError, load_state

log = get_logger("steps")


class FusedStepsActivity:
    """Runs fused super-steps of the graphs that a worker serves."""

    def __init__(self, graphs: Mapping[str, GraphRegistry], executor: Executor) -> None:
        self._graphs = dict(graphs)
        self._executor = executor

    async def run(self, request: FusedStepsRequest) -> RawValue:
        """Make one attempt at the super-steps, starting after those that an earlier attempt has reported.

        Only a state that cannot be read and a worker's shutdown end the attempt as a failure, so that Temporal makes
        another one. After any other error the result tells the workflow to run the remaining tasks individually.
        """
        info = activity.info()
        registry = self._graphs.get(request.graph)
        if registry is None or registry.spec.hash != request.spec_hash:
            return to_raw(_to_json(FusedStepsResult(spec_mismatch=True)))
        try:
            state = await load_state(request)
        except StateUnavailableError as error:
            raise failure(
                str(error), type=type(error).__name__, non_retryable=False, next_retry_delay=timedelta(seconds=1)
            ) from error
        bound = log.bind(graph=request.graph, thread=request.thread_id, run=request.run_id, attempt=info.attempt)
        fused_steps: FusedSteps | None = None
        try:
            fused_steps = FusedSteps(
                registry,
                request,
                state,
                run_sync=partial(run_on_thread, self._executor),
                clock=lambda: datetime.now(UTC).isoformat(),
                limit=size_limit(uses_external_storage=request.storage and uses_storage(activity.client())),
            )
            if (progress := _reported_progress(info)) is not None:
                fused_steps.restore_progress(progress)
                bound.info("steps go on", after=progress.ran)
            await _run(fused_steps, info, bound)
            result = fused_steps.result
        except Exception as error:
            # This is not a node's error, and another attempt would raise it again. The workflow runs the remaining
            # tasks individually, and the one that causes the error reports it.
            bound.warning("steps end early", error=f"{type(error).__name__}: {first_line(error)}")
            so_far = fused_steps.result if fused_steps is not None else FusedStepsResult()
            result = so_far.model_copy(update={"run_individually": True})
        for task_id, node_failure in result.failures.items():
            bound.warning("node failed", task=task_id, error=node_failure.summary)
        bound.info("steps done", ran=result.ran)
        return to_raw(_to_json(result))


async def _run(fused_steps: FusedSteps, info: activity.Info, bound: Any) -> None:
    """Run the super-steps with heartbeats. A cancellation by the run ends them early; a worker's shutdown is raised."""

    def progress() -> object:
        return _to_json(fused_steps.result_within(PAYLOAD_LIMIT))

    try:
        async with heartbeats(info.heartbeat_timeout, progress):
            await fused_steps.run(should_stop=activity.is_worker_shutdown)
    except asyncio.CancelledError:
        if activity.is_worker_shutdown():
            activity.heartbeat(to_raw(progress()))  # the next attempt, on another worker, starts from here
            bound.info("steps interrupted", done=fused_steps.result.ran)
            raise


def _to_json(result: FusedStepsResult) -> object:
    return result.to_json()


def _reported_progress(info: activity.Info) -> FusedStepsResult | None:
    """Return what an earlier attempt's last heartbeat reported; `None` if there is nothing that can be read."""
    if not info.heartbeat_details:
        return None
    try:
        return FusedStepsResult.model_validate(info.heartbeat_details[0])
    except (ValidationError, UnknownFormatError):  # reported by a worker with another version of stepgraph
        return None
