"""Super-steps as Temporal activities: an activity for each task, or one for several super-steps together.

At most `RunSettings.tasks_in_flight` tasks of a super-step are in flight; the next one starts when one ends. Of a
super-step with more tasks than one history takes, some are postponed to the next run: no further task starts, and those
in flight end.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio import workflow

from stepgraph.engine.checkpoint import Task
from stepgraph.engine.thread import Thread
from stepgraph.protocol.fused_run import FusedStepsResult
from stepgraph.protocol.opening import RunSettings
from stepgraph_workflows.continue_as_new import should_postpone_tasks
from stepgraph_workflows.fused_dispatch import REPLAY_COST, can_fuse, commit_fused, run_fused, without_cancelled
from stepgraph_workflows.task_dispatch import CANCELLED, run_task_activity

STOP_TIMEOUT = timedelta(seconds=60)
"""How long cancelled nodes may take to end; then the run goes on without them."""


@dataclass(frozen=True)
class Execution:
    """What became of the tasks that were due."""

    fused_steps: str | None = None
    """The super-steps that ran fused and are committed, as text for people: ``steps 3 to 41``; `None` if none did."""
    postpones_tasks: bool = False
    """Whether the super-step has tasks that are postponed to the next run."""


class SuperSteps:
    """Has tasks executed, and records their outcomes in the thread.

    Args:
        should_stop: whether running nodes are to be cancelled. A cancelled task has not failed: it runs again later.
    """

    def __init__(self, should_stop: Callable[[], bool]) -> None:
        self._should_stop = should_stop
        self._run_cancelled = False
        """Whether Temporal has cancelled the run."""
        self._fused_count = 0
        """How many super-steps of this run were fused."""
        self._may_fuse = True
        """Whether the workers have the spec that the run was started with."""
        self._unfused_checkpoint: str | None = None
        """The checkpoint whose tasks must not be fused."""
        self._failed_attempts: Mapping[str, int] = {}
        """How many attempts at that checkpoint's tasks have failed while they were fused, by task id."""
        self._tasks_started = 0
        """How many tasks had activities of their own in this run."""
        self._may_postpone_tasks = True
        """Whether the outcomes of unfinished super-steps fit into the arguments of the next run."""

    def stay(self) -> None:
        """Run all further tasks in this run: what has been done of a super-step does not fit into the next one's."""
        self._may_postpone_tasks = False

    def length(self, thread: Thread) -> float:
        """Return how long the run is to replay, in super-steps with an activity for each task."""
        return len(thread.checkpoints) - self._fused_count * (1 - REPLAY_COST)

    async def run(
        self, thread: Thread, tasks: tuple[Task, ...], settings: RunSettings, config: dict[str, Any]
    ) -> Execution:
        """Execute the tasks that are due; fused with later super-steps where the graph allows it.

        Fused super-steps are committed; otherwise the caller commits.

        Raises:
            asyncio.CancelledError: Temporal has cancelled the run, and the nodes have ended.
        """
        if self._may_fuse and self._unfused_checkpoint != thread.head_id and can_fuse(thread, tasks):
            return await self._run_fused(thread, settings, config)
        return await self._run_tasks(thread, tasks, settings, config)

    async def _run_fused(self, thread: Thread, settings: RunSettings, config: dict[str, Any]) -> Execution:
        max_steps = max(1, int((settings.continue_as_new_steps - self.length(thread)) / REPLAY_COST))
        work = asyncio.create_task(run_fused(thread, settings, config, max_steps))
        await self._wait_or_cancel([work])
        result = await work if work.done() else FusedStepsResult()
        if self._stopping:
            result = without_cancelled(result)
        commit_fused(thread, result)
        self._fused_count += len(result.steps)
        self._may_fuse = not result.spec_mismatch
        self._unfused_checkpoint = thread.head_id if result.run_individually else None
        self._failed_attempts = result.failed_attempts
        self._raise_if_cancelled()
        return Execution(fused_steps=result.ran or None)

    async def _run_tasks(
        self, thread: Thread, tasks: tuple[Task, ...], settings: RunSettings, config: dict[str, Any]
    ) -> Execution:
        step = thread.next_step
        group = [workflow.create_event_group(f"step-{step}", label=f"step {step}")] if len(tasks) > 1 else []
        left = deque(tasks)

        async def run_one_after_the_other() -> None:
            while left and not self._stopping and not self._must_postpone_tasks(settings):
                self._tasks_started += 1
                await self._run_task(thread, left.popleft(), settings, config, group)

        in_flight = min(settings.tasks_in_flight, len(tasks))
        work = [asyncio.create_task(run_one_after_the_other()) for _ in range(in_flight)]
        await self._wait_or_cancel(work)
        for each in work:
            if each.done() and not each.cancelled():
                each.result()
        self._raise_if_cancelled()
        return Execution(postpones_tasks=bool(left) and not self._stopping)

    def _must_postpone_tasks(self, settings: RunSettings) -> bool:
        return self._may_postpone_tasks and should_postpone_tasks(settings, self._tasks_started)

    async def _run_task(
        self,
        thread: Thread,
        task: Task,
        settings: RunSettings,
        config: dict[str, Any],
        group: Sequence[workflow.EventGroup],
    ) -> None:
        failed = self._failed_attempts.get(task.id, 0)
        await run_task_activity(thread, task, settings, config, group, failed_attempts=failed)
        failure = thread.failures.get(task.id)
        if self._stopping and failure is not None and failure.error_type == CANCELLED:
            thread.start(task)

    @property
    def _stopping(self) -> bool:
        return self._run_cancelled or self._should_stop()

    async def _wait_or_cancel(self, work: Sequence[asyncio.Task[Any]]) -> None:
        """Wait for the work to end; cancel it when nodes are to stop, and wait until no node runs any more."""
        try:
            await workflow.wait_condition(lambda: self._stopping or all(each.done() for each in work))
        except asyncio.CancelledError:
            self._run_cancelled = True
        if self._stopping:
            for each in work:
                each.cancel()
            await workflow.wait(work, timeout=STOP_TIMEOUT.total_seconds())

    def _raise_if_cancelled(self) -> None:
        if self._run_cancelled:
            raise asyncio.CancelledError
