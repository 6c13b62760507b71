"""The outcomes of one checkpoint's tasks: results, failures, and interrupts with their answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from stepgraph.engine.checkpoint import (
    Checkpoint,
    CheckpointData,
    InterruptRequest,
    Task,
    TaskFailure,
    TaskInterrupts,
    TaskResult,
    as_shown,
)

Outcome = tuple[Task, TaskResult | None, TaskFailure | None]
"""A task with its result if it has finished, and its failure if it has failed."""


@dataclass
class TaskOutcomes:
    """What became of the tasks of one checkpoint, by task id.

    It changes while the checkpoint is a thread's head, and stays as a record of the super-step afterwards.
    """

    results: dict[str, TaskResult] = field(default_factory=dict)
    failures: dict[str, TaskFailure] = field(default_factory=dict)
    interrupts: dict[str, TaskInterrupts] = field(default_factory=dict)

    def copy(self) -> TaskOutcomes:
        """Return a copy that can be changed independently."""
        return TaskOutcomes(dict(self.results), dict(self.failures), dict(self.interrupts))

    def renamed(self, ids: Mapping[str, str]) -> TaskOutcomes:
        """Return a copy for tasks with other ids. ``ids`` has the new id by the old one."""
        return TaskOutcomes(
            {ids[task_id]: result for task_id, result in self.results.items()},
            {ids[task_id]: failure for task_id, failure in self.failures.items()},
            {ids[task_id]: interrupts for task_id, interrupts in self.interrupts.items()},
        )

    def start(self, task: Task) -> None:
        """Record that a task runs, or runs again: drop the failure of its earlier run."""
        self.failures.pop(task.id, None)

    def interrupt(self, task: Task, request: InterruptRequest, *, now: str) -> None:
        """Record that a task waits for an answer. A timeout becomes a deadline, counted from ``now`` (ISO 8601)."""
        if request.timeout is not None:
            deadline = datetime.fromisoformat(now) + timedelta(seconds=request.timeout)
            request = request.model_copy(update={"deadline": deadline.isoformat()})
        interrupts = self.interrupts.get(task.id, TaskInterrupts())
        self.interrupts[task.id] = interrupts.with_request(request)

    def finish(self, task: Task, result: TaskResult) -> None:
        """Record a task's result. Its interrupts stay as a record of the super-step."""
        self.results[task.id] = result

    def waiting_by_task(self) -> dict[str, InterruptRequest]:
        """Return the interrupts that wait for an answer, by task id."""
        waiting = {
            task_id: interrupts.waiting
            for task_id, interrupts in self.interrupts.items()
            if task_id not in self.results
        }
        return {task_id: request for task_id, request in waiting.items() if request is not None}

    def last_interrupts(self) -> dict[str, InterruptRequest]:
        """Return each task's last interrupt, answered or not, by task id."""
        return {
            task_id: interrupts.requests[-1] for task_id, interrupts in self.interrupts.items() if interrupts.requests
        }

    def waiting_interrupts(self, checkpoint: Checkpoint) -> tuple[InterruptRequest, ...]:
        """Return the interrupts that wait for an answer, in the order in which snapshots list their tasks."""
        waiting = self.waiting_by_task()
        return tuple(waiting[task.id] for task in as_shown(checkpoint.tasks) if task.id in waiting)

    def due(self, checkpoint: Checkpoint) -> tuple[Task, ...]:
        """Return the checkpoint's tasks that have not finished and do not wait for an answer. Failed ones are due."""
        waiting = self.waiting_by_task()
        return tuple(task for task in checkpoint.tasks if task.id not in self.results and task.id not in waiting)

    def by_task(self, checkpoint: Checkpoint | CheckpointData) -> tuple[Outcome, ...]:
        """Return the checkpoint's tasks in their order, each with its result and its failure."""
        return tuple((task, self.results.get(task.id), self.failures.get(task.id)) for task in checkpoint.tasks)


def complete(checkpoint: Checkpoint, results: Mapping[str, TaskResult]) -> bool:
    """Return whether a checkpoint has tasks and all of them have results, so that the super-step can be committed."""
    tasks = checkpoint.tasks
    return bool(tasks) and all(task.id in results for task in tasks)
