"""Fused super-steps: one process runs several of a thread's super-steps in a row, and tells of all at once.

For nodes whose durability is ``"async"``. The engine is pure, so whoever has a checkpoint can go on from it: a worker's
activity plans, runs and commits as the workflow would, and the workflow then commits the same results into the same
checkpoints. Whatever is out of the ordinary (a question, a failure, a breakpoint, an error of a reducer, a node that is
``"sync"`` or takes too long) ends the row, and is left to the workflow.

Knows nothing of Temporal, and owns no rule of a graph's: those are the engine's.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from stepgraph.engine.checkpoint import CheckpointData, Task, TaskFailure, TaskResult
from stepgraph.engine.constants import START
from stepgraph.engine.failures import failure_from
from stepgraph.engine.record import checkpoint_of
from stepgraph.engine.thread import Thread
from stepgraph.errors import StepgraphError
from stepgraph.execution.registry import GraphCode
from stepgraph.execution.run_node import ENTRY_TIMEOUT, RunSync, request_for, run_task
from stepgraph.serde.sizes import PAYLOAD_LIMIT
from stepgraph.serde.type_codec import json_size


class StepsRequest(BaseModel):
    """Where to go on from, and how far. The state is the one at ``head``."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    graph: str
    thread_id: str
    run_id: str
    spec_hash: str
    head: CheckpointData
    state: dict[str, Any] | None = None
    """The values at the head, as JSON data; `None` when they are to be had by its id."""
    made: int
    """Checkpoints that the run has made so far; the next are numbered from there."""
    steps_left: int
    """What is left of the recursion limit."""
    breaks: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    passed: bool = False
    """Whether to go on from a breakpoint at the head."""
    config: dict[str, Any] = {}
    max_steps: int
    max_seconds: float
    max_bytes: int
    stored: bool = False
    """Whether external storage takes what Temporal does not carry."""

    @property
    def checkpoint_id(self) -> str:
        """Whose values ``state`` are."""
        return self.head.id


class RunStep(BaseModel):
    """A super-step that was run: when it was complete (ISO 8601, UTC), and the result of each of its tasks."""

    model_config = ConfigDict(frozen=True)

    at: str
    results: dict[str, TaskResult]


class StepsAnswer(BaseModel):
    """What was run."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    ran: str = ""
    """In words, for people: ``steps 3 to 41``."""
    steps: tuple[RunStep, ...] = ()
    results: dict[str, TaskResult] = {}
    """What tasks of the super-step after them have finished with, or asked, where it ended otherwise."""
    failures: dict[str, TaskFailure] = {}
    alone: bool = False
    """That super-step is to be run by activities of its own."""
    unknown: bool = False
    """The worker has other code than the run was started with, so it can only be given one task at a time."""


class StepRow:
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
        code: GraphCode,
        request: StepsRequest,
        state: Mapping[str, Any],
        *,
        run_sync: RunSync,
        clock: Callable[[], str],
        limit: int = PAYLOAD_LIMIT,
    ) -> None:
        self._code = code
        self._request = request
        self._run_sync = run_sync
        self._clock = clock
        self._limit = limit
        self._steps: list[RunStep] = []
        self._left: dict[str, TaskResult] = {}
        self._bytes = 0
        self._alone = False
        channels = code.schema.channels
        self._thread = Thread(
            code.spec,
            channels,
            thread_id=request.thread_id,
            run_id=request.run_id,
            clock=clock,
            base=checkpoint_of(request.head, channels.decode(state)),
            numbered_from=request.made,
            stored=request.stored,
        )
        self._thread.allow(request.steps_left)
        self._thread.break_at(*request.breaks)
        if request.passed:
            self._thread.pass_on()

    @property
    def answer(self) -> StepsAnswer:
        """What was run so far."""
        return self.told(self._limit)

    def told(self, limit: int) -> StepsAnswer:
        """What was run so far; without the last of it, where that is too large to travel with the rest."""
        steps, left, failures = self._steps, dict(self._left), self._thread.failures
        answer = StepsAnswer(
            ran=self._ran(len(steps)), steps=tuple(steps), results=left, failures=failures, alone=self._alone
        )
        if json_size(answer) <= limit:
            return answer
        if not left and not failures:
            steps = steps[:-1]
        return StepsAnswer(ran=self._ran(len(steps)), steps=tuple(steps), alone=True)

    def go_on_after(self, done: StepsAnswer) -> None:
        """Takes over what an earlier attempt has told of before its worker was lost."""
        for step in done.steps:
            self._thread.take(step.results, created_at=step.at)
            self._keep(step)
        for task in self._due():
            if task.id in done.results:
                self._finish(task, done.results[task.id])

    async def run(self, *, told_to_stop: Callable[[], bool] = lambda: False) -> None:
        """Super-step after super-step, until a bound is met or something is left to the workflow."""
        until = time.monotonic() + self._request.max_seconds
        while (
            len(self._steps) < self._request.max_steps
            and self._bytes < self._request.max_bytes
            and not (self._steps and (told_to_stop() or time.monotonic() >= until))
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
        self._keep(RunStep(at=made.created_at, results=self._left))
        self._left = {}
        return True

    def _keep(self, step: RunStep) -> None:
        self._steps.append(step)
        self._bytes += json_size(step)

    async def _perform(self, task: Task) -> None:
        """Runs one task to its end, with the attempts that its retry policy allows."""
        thread = self._thread
        timeout = ENTRY_TIMEOUT if task.node == START else thread.spec.node(task.node).timeout
        request = request_for(thread, task, self._request.config)
        node = self._code.nodes.get(task.node)
        for attempt in itertools.count(1):
            try:
                async with asyncio.timeout(timeout) as patience:
                    result = await run_task(
                        self._code,
                        request,
                        thread.state,
                        run_sync=self._run_sync,
                        attempt=attempt,
                        limit=self._limit,
                    )
            except (Exception, SystemExit, KeyboardInterrupt) as error:  # a node must not end its worker
                if patience.expired():
                    self._alone = True  # only Temporal can start it elsewhere
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
