"""Super-steps as Temporal activities: one by one, or several in a row."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from temporalio import workflow

from stepgraph.engine.checkpoint import Task
from stepgraph.engine.thread import Thread
from stepgraph.execution.fused_steps import StepsAnswer
from stepgraph.protocol.wire import Settings
from stepgraph_workflows.fused_dispatch import COST, may_fuse, run_in_a_row, take_over, without_cancelled
from stepgraph_workflows.task_dispatch import CANCELLED, perform

STOP_PATIENCE = timedelta(seconds=60)
"""How long nodes that are told to stop may take; then the run goes on without them."""


class Stepper:
    """Has tasks run, and tells the thread what came of them.

    Args:
        told_to_stop: whether nodes that run are to be stopped. What was stopped has not failed: it is to be run again.
    """

    def __init__(self, told_to_stop: Callable[[], bool]) -> None:
        self._told_to_stop = told_to_stop
        self._cancelled = False
        self._in_a_row = 0
        self._fusing = True
        """Whether the workers have the code that the run was started with."""
        self._alone: str | None = None
        """The checkpoint whose tasks are not to be run in a row with others."""

    def length(self, thread: Thread) -> float:
        """How long the run is to replay, in super-steps of their own."""
        return len(thread.made) - self._in_a_row * (1 - COST)

    async def run(self, thread: Thread, tasks: tuple[Task, ...], settings: Settings, config: dict[str, Any]) -> str:
        """Runs the tasks that are due, and perhaps those of super-steps after them, which are committed then.

        What was run in a row, in words. Raises `asyncio.CancelledError` once the nodes have stopped, when Temporal
        cancels the run.
        """
        if self._fusing and self._alone != thread.head_id and may_fuse(thread, tasks):
            return await self._several(thread, settings, config)
        await self._one(thread, tasks, settings, config)
        return ""

    async def _several(self, thread: Thread, settings: Settings, config: dict[str, Any]) -> str:
        """By one activity; their checkpoints are made when it tells of them."""
        room = max(1, int((settings.hand_over_steps - self.length(thread)) / COST))
        work = asyncio.create_task(run_in_a_row(thread, settings, config, room))
        await self._done_or_stopped([work])
        answer = await work if work.done() else StepsAnswer()
        if self._stopping:
            answer = without_cancelled(answer)
        take_over(thread, answer)
        self._in_a_row += len(answer.steps)
        self._fusing = not answer.unknown
        self._alone = thread.head_id if answer.alone else None
        self._tell_of_cancellation()
        return answer.ran

    async def _one(self, thread: Thread, tasks: tuple[Task, ...], settings: Settings, config: dict[str, Any]) -> None:
        """By an activity for each of its tasks."""
        step = tasks[0].step
        group = [workflow.create_event_group(f"step-{step}", label=f"step {step}")] if len(tasks) > 1 else []
        work = [asyncio.create_task(self._perform(thread, task, settings, config, group)) for task in tasks]
        await self._done_or_stopped(work)
        for each in work:
            if each.done() and not each.cancelled():
                each.result()
        self._tell_of_cancellation()

    async def _perform(
        self,
        thread: Thread,
        task: Task,
        settings: Settings,
        config: dict[str, Any],
        group: Sequence[workflow.EventGroup],
    ) -> None:
        await perform(thread, task, settings, config, group)
        failed = thread.failures.get(task.id)
        if self._stopping and failed is not None and failed.error_type == CANCELLED:
            thread.start(task)

    @property
    def _stopping(self) -> bool:
        return self._cancelled or self._told_to_stop()

    async def _done_or_stopped(self, work: Sequence[asyncio.Task[Any]]) -> None:
        """Until all is done, or has stopped because that was asked for."""
        try:
            await workflow.wait_condition(lambda: self._stopping or all(each.done() for each in work))
        except asyncio.CancelledError:
            self._cancelled = True
        if self._stopping:
            for each in work:
                each.cancel()
            await workflow.wait(work, timeout=STOP_PATIENCE.total_seconds())  # no node runs on beside what comes next

    def _tell_of_cancellation(self) -> None:
        if self._cancelled:
            raise asyncio.CancelledError
