"""Fused super-steps: one process executes several super-steps of a thread, and reports all of them at once.

Drives a `Thread` of its own as the workflow would: plan, run, commit. Everything unusual ends the super-steps and is
left to the workflow: an interrupt, a failure, a breakpoint, the recursion limit, an error of a reducer, a node that may
not be fused. Knows neither heartbeats nor where the state comes from; `stepgraph_activities.fused_activity` does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from functools import partial
from typing import Any

from stepgraph.engine.changes import Change
from stepgraph.engine.checkpoint import Checkpoint, Task, TaskResult
from stepgraph.engine.constants import START
from stepgraph.engine.failures import failure_from
from stepgraph.engine.folding import Applied
from stepgraph.engine.thread import Thread
from stepgraph.errors import ChannelTypeError, StepgraphError
from stepgraph.execution.call_function import RunSync
from stepgraph.execution.cancellation import is_cancellation, is_end_of_process
from stepgraph.execution.custom_folds import changes_together
from stepgraph.execution.node_services import NO_SERVICES, NodeServices
from stepgraph.execution.registry import GraphRegistry
from stepgraph.execution.retry import delay_after_error
from stepgraph.execution.run_code import RunCode
from stepgraph.execution.run_node import run_task
from stepgraph.protocol.fused_run import FusedStep, FusedStepsRequest, FusedStepsResult
from stepgraph.protocol.task_request import START_TIMEOUT, task_request
from stepgraph.serde.plain_json import json_size
from stepgraph.serde.sizes import PAYLOAD_LIMIT


class FusedSteps:
    """Executes the super-steps of one request. `run` may be cancelled at any moment; `result` has what was done so far.

    Args:
        registry: the graph's code; its spec must be the one that the run was started with.
        request: the checkpoint to start from, and the bounds.
        state: the values at that checkpoint, as JSON data.
        run_sync: runs a function that is not async, off the event loop.
        clock: returns the time, ISO 8601, UTC.
        report: has the `result` so far stored where the next activity attempt finds it. Called, and awaited, before a
            node is retried.
        limit: the largest size of a result, and of one task's writes, in bytes of JSON.
        services: what this process provides to the graph's functions.
    """

    def __init__(
        self,
        registry: GraphRegistry,
        request: FusedStepsRequest,
        state: Mapping[str, Any],
        *,
        run_sync: RunSync,
        clock: Callable[[], str],
        report: Callable[[], Awaitable[None]],
        limit: int = PAYLOAD_LIMIT,
        services: NodeServices = NO_SERVICES,
    ) -> None:
        self._registry = registry
        self._code = RunCode(registry, registry.spec, services)
        self._request = request
        self._run_sync = run_sync
        self._clock = clock
        self._report = report
        self._limit = limit
        self._steps: list[FusedStep] = []
        self._pending_results: dict[str, TaskResult] = {}
        """Results of the super-step that is not complete yet."""
        self._failed_attempts: dict[str, int] = {}
        """How many attempts have failed at its tasks that have no outcome yet, by task id."""
        self._bytes = 0
        """The size of the complete super-steps."""
        self._run_individually = False
        self._thread = Thread(
            registry.spec,
            thread_id=request.thread_id,
            run_id=request.run_id,
            clock=clock,
            base=Checkpoint.from_data(request.head, dict(state)),
            numbered_from=request.checkpoints_made,
            uses_external_storage=request.storage,
        )
        self._thread.limit_steps(request.steps_left)
        self._thread.set_breakpoints(*request.breaks)
        self._thread.durability = request.durability
        if request.passes_breakpoint:
            self._thread.pass_breakpoint()

    @property
    def result(self) -> FusedStepsResult:
        """What was executed so far."""
        return self.result_within(self._limit)

    def result_within(self, limit: int) -> FusedStepsResult:
        """Return what was executed so far, within ``limit`` bytes of JSON.

        If all of it is larger, the result omits the outcomes of the incomplete super-step or, if there are none, the
        last complete super-step. The workflow then executes the omitted tasks again, individually.
        """
        steps, failures = self._steps, self._thread.failures
        result = FusedStepsResult(
            ran=self._describe(len(steps)),
            steps=tuple(steps),
            results=dict(self._pending_results),
            failures=failures,
            failed_attempts=dict(self._failed_attempts),
            run_individually=self._run_individually,
        )
        if json_size(result) <= limit:
            return result
        if not self._pending_results and not failures:
            steps = steps[:-1]
        return FusedStepsResult(
            ran=self._describe(len(steps)),
            steps=tuple(steps),
            failed_attempts=dict(self._failed_attempts),
            run_individually=True,
        )

    def restore_progress(self, progress: FusedStepsResult) -> None:
        """Start after what an earlier attempt reported before its worker was lost."""
        for step in progress.steps:
            self._thread.commit_results(step.results, step.applied, created_at=step.at)
            self._record(step)
        for task in self._due():
            if task.id in progress.results:
                self._finish(task, progress.results[task.id])
        self._failed_attempts = dict(progress.failed_attempts)

    async def run(self, *, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Execute super-steps until a bound is reached, ``should_stop`` returns true, or the workflow has to take over.

        At least one super-step is executed, whatever the bounds: otherwise the run would make no progress.
        """
        end = time.monotonic() + self._request.max_seconds
        while (
            len(self._steps) < self._request.max_steps
            and self._bytes < self._request.max_bytes
            and not (self._steps and (should_stop() or time.monotonic() >= end))
            and (tasks := self._due())
        ):
            await _all_to_their_end(self._execute(task) for task in tasks)
            if not await self._commit():
                return

    def _describe(self, count: int) -> str:
        """Name the first ``count`` super-steps for a human: ``step 3``, ``steps 3 to 41``."""
        first, last = self._request.head.step + 1, self._request.head.step + count
        return "" if not count else f"step {first}" if count == 1 else f"steps {first} to {last}"

    def _due(self) -> tuple[Task, ...]:
        """Return the head's tasks; none if the workflow has to take over. It meets the same error, and reports it."""
        try:
            tasks = self._thread.due()
        except StepgraphError:
            return ()
        fuses, durability = self._thread.spec.fuses, self._thread.durability
        return tasks if all(fuses(task.node, durability) for task in tasks) else ()

    async def _commit(self) -> bool:
        """Commit the super-step; return false if it is not complete, or if the workflow has to commit it."""
        thread = self._thread
        if not thread.complete:
            return False
        try:
            unfolded = thread.unfolded()
            changes: dict[str, Change] = {}
            if unfolded is not None:
                if any(entry.result.unrouted for entry in unfolded.entries):
                    return False
                fold = partial(changes_together, self._code, unfolded.channels, unfolded.values, unfolded.entries)
                stamps = thread.spec.deviating(thread.head.stamps) if thread.head is not None else {}
                changes = await self._run_sync(partial(fold, stamps=stamps, step=unfolded.step))
            checkpoint = thread.commit(Applied(changes=changes))
        except StepgraphError:
            return False
        self._record(FusedStep(at=checkpoint.created_at, results=self._pending_results, changes=changes))
        self._pending_results = {}
        return True

    def _record(self, step: FusedStep) -> None:
        self._steps.append(step)
        self._bytes += json_size(step)

    async def _execute(self, task: Task) -> None:
        """Execute one task to its end, with the attempts that its retry policy allows."""
        thread = self._thread
        timeout = START_TIMEOUT if task.node == START else thread.spec.node(task.node).timeout
        request = task_request(thread, task, self._request.config)
        node = self._registry.nodes.get(task.node)
        code = self._code.starting_at(time.time())
        while True:
            failed = self._failed_attempts.get(task.id, 0)
            try:
                async with asyncio.timeout(timeout) as node_timeout:
                    result = await run_task(
                        code,
                        request,
                        thread.state,
                        run_sync=self._run_sync,
                        attempt=failed + 1,
                        limit=self._limit,
                    )
            except BaseException as error:  # a node must not end its worker
                if is_cancellation(error):
                    raise
                if isinstance(error, ChannelTypeError) or is_end_of_process(error):
                    self._run_individually = True  # only Temporal can start it on another worker
                    return
                self._failed_attempts[task.id] = failed + 1
                if node_timeout.expired():
                    self._run_individually = True  # a function that is not async may still run on its thread
                    return
                delay = delay_after_error(node.retry_policies if node is not None else (), error, failed + 1)
                if delay is None:
                    del self._failed_attempts[task.id]
                    thread.fail(task, failure_from(error, attempts=failed + 1))
                    return
                await self._report()
                await asyncio.sleep(delay)
            else:
                self._finish(task, result)
                return

    def _finish(self, task: Task, result: TaskResult) -> None:
        self._thread.finish(task, result)
        self._pending_results[task.id] = result
        self._failed_attempts.pop(task.id, None)


async def _all_to_their_end(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run coroutines side by side. If one of them raises, or the caller is cancelled, none goes on running."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
