"""What has become of the tasks of one checkpoint: results, failures, questions with their answers."""

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
)
from stepgraph.engine.plan import plan

Outcome = tuple[Task, TaskResult | None, TaskFailure | None]


@dataclass
class TaskOutcomes:
    """By task id. Grows while the checkpoint is a thread's head, and says afterwards how the step went."""

    results: dict[str, TaskResult] = field(default_factory=dict)
    failures: dict[str, TaskFailure] = field(default_factory=dict)
    interrupts: dict[str, TaskInterrupts] = field(default_factory=dict)

    def copy(self) -> TaskOutcomes:
        """The same, to go on from without touching these."""
        return TaskOutcomes(dict(self.results), dict(self.failures), dict(self.interrupts))

    def start(self, task: Task) -> None:
        """A task is run (again): its old failure no longer says anything."""
        self.failures.pop(task.id, None)

    def interrupt(self, task: Task, ask: InterruptRequest, *, now: str) -> None:
        """A task's node asks something; a timeout becomes a deadline."""
        if ask.timeout is not None:
            deadline = datetime.fromisoformat(now) + timedelta(seconds=ask.timeout)
            ask = ask.model_copy(update={"deadline": deadline.isoformat()})
        before = self.interrupts.get(task.id, TaskInterrupts())
        self.interrupts[task.id] = before.model_copy(update={"requests": (*before.requests, ask)})

    def finish(self, task: Task, result: TaskResult) -> None:
        """A task has finished. What it asked stays, as a record of the step."""
        self.results[task.id] = result

    def waiting_by_task(self) -> dict[str, InterruptRequest]:
        """The questions that wait for an answer."""
        asked = {name: interrupts.waiting for name, interrupts in self.interrupts.items() if name not in self.results}
        return {name: ask for name, ask in asked.items() if ask is not None}

    def last_interrupts(self) -> dict[str, InterruptRequest]:
        """What each task asked last, answered or not."""
        return {name: interrupts.requests[-1] for name, interrupts in self.interrupts.items() if interrupts.requests}

    def waiting_interrupts(self, checkpoint: Checkpoint) -> tuple[InterruptRequest, ...]:
        """The questions that wait for an answer, in the order of the checkpoint's tasks."""
        waiting = self.waiting_by_task()
        return tuple(waiting[task.id] for task in plan(checkpoint) if task.id in waiting)

    def due(self, checkpoint: Checkpoint) -> tuple[Task, ...]:
        """The checkpoint's tasks that have neither finished nor wait for an answer."""
        waiting = self.waiting_by_task()
        return tuple(task for task in plan(checkpoint) if task.id not in self.results and task.id not in waiting)

    def by_task(self, checkpoint: Checkpoint | CheckpointData) -> tuple[Outcome, ...]:
        """The checkpoint's tasks in order, each with what became of it."""
        return tuple((task, self.results.get(task.id), self.failures.get(task.id)) for task in plan(checkpoint))


def complete(checkpoint: Checkpoint, results: Mapping[str, TaskResult]) -> bool:
    """Whether a checkpoint has tasks, and all have finished, so that they can be committed."""
    tasks = plan(checkpoint)
    return bool(tasks) and all(task.id in results for task in tasks)
