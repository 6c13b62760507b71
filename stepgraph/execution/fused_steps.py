"""Fused super-steps: one process runs several of a thread's super-steps in a row, and tells of all at once."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any

from stepgraph.engine.checkpoint import Checkpoint, Task, TaskResult
from stepgraph.engine.constants import START
from stepgraph.engine.failures import failure_from
from stepgraph.engine.thread import Thread
from stepgraph.errors import StepgraphError
from stepgraph.execution.registry import GraphRegistry
from stepgraph.execution.run_node import RunSync, run_task
from stepgraph.protocol.fused_run import FusedStep, FusedStepsRequest, FusedStepsResult
from stepgraph.protocol.task_request import ENTRY_TIMEOUT, task_request
from stepgraph.serde.plain_json import json_size
from stepgraph.serde.sizes import PAYLOAD_LIMIT


class FusedSteps:
    """Super-steps in a row. `run` may be cancelled at any moment; `answer` tells what was done so far.

    Args:
        code: the graph; its spec must be the run's.
        request: where to go on from, and how far.
        state: the values there, as JSON data.
        run_sync: gets functions that are not async off the event loop.
        clock: the time, ISO 8601, UTC.
        limit: bytes that what was run may have.
    """

    def __init__(
        self,
        registry: GraphRegistry,
        request: FusedStepsRequest,
        state: Mapping[str, Any],
        *,
        run_sync: RunSync,
        clock: Callable[[], str],
        limit: int = PAYLOAD_LIMIT,
    ) -> None:
        self._registry = registry
        self._request = request
        self._run_sync = run_sync
        self._clock = clock
        self._limit = limit
        self._steps: list[FusedStep] = []
        self._left: dict[str, TaskResult] = {}
        self._bytes = 0
        self._run_individually = False
        channels = registry.schema.channels
        self._thread = Thread(
            registry.spec,
            channels,
            thread_id=request.thread_id,
            run_id=request.run_id,
            clock=clock,
            base=Checkpoint.from_data(request.head, channels.decode(state)),
            numbered_from=request.checkpoints_made,
            uses_external_storage=request.uses_external_storage,
        )
        self._thread.limit_steps(request.steps_left)
        self._thread.set_breakpoints(*request.breaks)
        if request.passes_breakpoint:
            self._thread.pass_breakpoint()

    @property
    def answer(self) -> FusedStepsResult:
        """What was run so far."""
        return self.told(self._limit)

    def told(self, limit: int) -> FusedStepsResult:
        """What was run so far; without the last of it, where that is too large to travel with the rest."""
        steps, left, failures = self._steps, dict(self._left), self._thread.failures
        answer = FusedStepsResult(
            ran=self._ran(len(steps)),
            steps=tuple(steps),
            results=left,
            failures=failures,
            run_individually=self._run_individually,
        )
        if json_size(answer) <= limit:
            return answer
        if not left and not failures:
            steps = steps[:-1]
        return FusedStepsResult(ran=self._ran(len(steps)), steps=tuple(steps), run_individually=True)

    def go_on_after(self, done: FusedStepsResult) -> None:
        """Takes over what an earlier attempt has told of before its worker was lost."""
        for step in done.steps:
            self._thread.commit_results(step.results, created_at=step.at)
            self._keep(step)
        for task in self._due():
            if task.id in done.results:
                self._finish(task, done.results[task.id])

    async def run(self, *, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Super-step after super-step, until a bound is met or something is left to the workflow."""
        until = time.monotonic() + self._request.max_seconds
        while (
            len(self._steps) < self._request.max_steps
            and self._bytes < self._request.max_bytes
            and not (self._steps and (should_stop() or time.monotonic() >= until))
            and (tasks := self._due())
        ):
            await asyncio.gather(*(self._perform(task) for task in tasks))
            if not self._commit():
                return

    def _ran(self, count: int) -> str:
        first, last = self._request.head.step + 1, self._request.head.step + count
        return "" if not count else f"step {first}" if count == 1 else f"steps {first} to {last}"

    def _due(self) -> tuple[Task, ...]:
        """The tasks to run here; none where the workflow has to see to it, who finds the same error then."""
        try:
            tasks = self._thread.due()
        except StepgraphError:
            return ()
        return tasks if all(self._thread.spec.fuses(task.node) for task in tasks) else ()

    def _commit(self) -> bool:
        """Makes the next checkpoint; whether there is one."""
        if not self._thread.complete:
            return False
        try:
            made = self._thread.commit()
        except StepgraphError:
            return False
        self._keep(FusedStep(at=made.created_at, results=self._left))
        self._left = {}
        return True

    def _keep(self, step: FusedStep) -> None:
        self._steps.append(step)
        self._bytes += json_size(step)

    async def _perform(self, task: Task) -> None:
        """Runs one task to its end, with the attempts that its retry policy allows."""
        thread = self._thread
        timeout = ENTRY_TIMEOUT if task.node == START else thread.spec.node(task.node).timeout
        request = task_request(thread, task, self._request.config)
        node = self._registry.nodes.get(task.node)
        for attempt in itertools.count(1):
            try:
                async with asyncio.timeout(timeout) as patience:
                    result = await run_task(
                        self._registry,
                        request,
                        thread.state,
                        run_sync=self._run_sync,
                        attempt=attempt,
                        limit=self._limit,
                    )
            except (Exception, SystemExit, KeyboardInterrupt) as error:  # a node must not end its worker
                if patience.expired():
                    self._run_individually = True  # only Temporal can start it elsewhere
                    return
                pause = node.pause_after(error, attempt) if node is not None else None
                if pause is None:
                    thread.fail(task, failure_from(error, attempts=attempt))
                    return
                await asyncio.sleep(pause)
            else:
                self._finish(task, result)
                return

    def _finish(self, task: Task, result: TaskResult) -> None:
        self._thread.finish(task, result)
        self._left[task.id] = result
