"""The activity that runs fused super-steps: ``research.steps``.

Owns what Temporal needs: progress in heartbeats, from which another attempt goes on, and an early end when the worker
shuts down or the run cancels the activity. Which super-steps run, and how many, is decided by
`stepgraph.execution.fused_steps`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from datetime import UTC, datetime
from functools import partial
from typing import Any

from temporalio import activity
from temporalio.common import RawValue

from stepgraph.execution.fused_steps import FusedSteps
from stepgraph.execution.node_services import NodeServices, no_store
from stepgraph.execution.registry import GraphRegistry
from stepgraph.protocol.fused_run import FusedStepsRequest, FusedStepsResult
from stepgraph.serde.error_text import first_line
from stepgraph.serde.sizes import PAYLOAD_LIMIT, size_limit
from stepgraph.temporal.logs import get_logger
from stepgraph.temporal.payloads import to_raw
from stepgraph.temporal.storage import uses_storage
from stepgraph_activities.cancellable_thread import run_on_thread
from stepgraph_activities.heartbeats import heartbeats, reported_progress
from stepgraph_activities.state_source import StateUnavailableError, load_state

log = get_logger("steps")


class FusedStepsActivity:
    """Runs fused super-steps of the graphs that a worker serves."""

    def __init__(
        self, graphs: Mapping[str, GraphRegistry], executor: Executor, open_store: Callable[[], Any] = no_store
    ) -> None:
        self._graphs = graphs
        self._executor = executor
        self._open_store = open_store

    async def run(self, request: FusedStepsRequest) -> RawValue:
        """Make one attempt at the super-steps, starting after those that an earlier attempt has reported.

        Only a state that cannot be read and a worker's shutdown end the attempt as a failure, so that Temporal makes
        another one. After any other error the result tells the workflow to run the remaining tasks individually.
        """
        info = activity.info()
        registry = self._graphs.get(request.graph)
        if registry is None or registry.spec.hash != request.spec_hash:
            return to_raw(FusedStepsResult(spec_mismatch=True))
        try:
            state = await load_state(request)
        except StateUnavailableError as error:
            raise error.as_failure() from error
        bound = log.bind(graph=request.graph, thread=request.thread_id, run=request.run_id, attempt=info.attempt)
        fused = _FusedProgress()
        async with heartbeats(fused.progress) as beats:
            try:
                fused.steps = FusedSteps(
                    registry,
                    request,
                    state,
                    run_sync=partial(run_on_thread, self._executor),
                    services=NodeServices(self._open_store),
                    clock=lambda: datetime.now(UTC).isoformat(),
                    report=beats.acknowledge,
                    limit=size_limit(uses_external_storage=request.storage and uses_storage(activity.client())),
                )
                if (progress := reported_progress(FusedStepsResult, info)) is not None:
                    fused.steps.restore_progress(progress)
                    bound.info("steps go on", after=progress.ran)
                await fused.steps.run(should_stop=activity.is_worker_shutdown)
            except asyncio.CancelledError:
                details = activity.cancellation_details()
                if details is None or not details.cancel_requested:  # by the run, which wants what has been done
                    await beats.acknowledge()  # the next attempt, perhaps on another worker, starts from here
                    bound.info("steps interrupted", done=fused.result.ran)
                    raise
            except Exception as error:
                # This is not a node's error, and another attempt would raise it again. The workflow runs the remaining
                # tasks individually, and the one that causes the error reports it.
                bound.warning("steps end early", error=f"{type(error).__name__}: {first_line(error)}")
                fused.ends_early = True
        for task_id, node_failure in fused.result.failures.items():
            bound.warning("node failed", task=task_id, error=node_failure.summary)
        bound.info("steps done", ran=fused.result.ran)
        return to_raw(fused.result)


class _FusedProgress:
    """The super-steps of one attempt."""

    def __init__(self) -> None:
        self.steps: FusedSteps | None = None
        """`None` until they have begun."""
        self.ends_early = False
        """Whether an error that is not a node's has ended them."""

    @property
    def result(self) -> FusedStepsResult:
        """What the workflow is told."""
        result = self.steps.result if self.steps is not None else FusedStepsResult()
        return result.model_copy(update={"run_individually": True}) if self.ends_early else result

    def progress(self) -> dict[str, Any] | None:
        """Return what the next attempt needs to know."""
        return self.steps.result_within(PAYLOAD_LIMIT).to_json() if self.steps is not None else None
