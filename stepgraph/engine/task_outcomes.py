"""What has become of the tasks of one checkpoint: results, failures, questions with their answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from stepgraph.engine.checkpoint import Ask, Checkpoint, CheckpointData, Interview, Task, TaskFailure, TaskResult
from stepgraph.engine.plan import plan

Outcome = tuple[Task, TaskResult | None, TaskFailure | None]


@dataclass
class Outcomes:
    """By task id. Grows while the checkpoint is a thread's head, and says afterwards how the step went."""

    results: dict[str, TaskResult] = field(default_factory=dict)
    failures: dict[str, TaskFailure] = field(default_factory=dict)
    interviews: dict[str, Interview] = field(default_factory=dict)

    def copy(self) -> Outcomes:
        """The same, to go on from without touching these."""
        return Outcomes(dict(self.results), dict(self.failures), dict(self.interviews))

    def start(self, task: Task) -> None:
        """A task is run (again): its old failure no longer says anything."""
        self.failures.pop(task.id, None)

    def ask(self, task: Task, ask: Ask, *, now: str) -> None:
        """A task's node asks something; a timeout becomes a deadline."""
        if ask.timeout is not None:
            deadline = datetime.fromisoformat(now) + timedelta(seconds=ask.timeout)
            ask = ask.model_copy(update={"deadline": deadline.isoformat()})
        before = self.interviews.get(task.id, Interview())
        self.interviews[task.id] = before.model_copy(update={"asks": (*before.asks, ask)})

    def finish(self, task: Task, result: TaskResult) -> None:
        """A task has finished. What it asked stays, as a record of the step."""
        self.results[task.id] = result

    def waiting(self) -> dict[str, Ask]:
        """The questions that wait for an answer."""
        asked = {name: interview.open for name, interview in self.interviews.items() if name not in self.results}
        return {name: ask for name, ask in asked.items() if ask is not None}

    def asked(self) -> dict[str, Ask]:
        """What each task asked last, answered or not."""
        return {name: interview.asks[-1] for name, interview in self.interviews.items() if interview.asks}

    def questions(self, checkpoint: Checkpoint) -> tuple[Ask, ...]:
        """The questions that wait for an answer, in the order of the checkpoint's tasks."""
        waiting = self.waiting()
        return tuple(waiting[task.id] for task in plan(checkpoint) if task.id in waiting)

    def due(self, checkpoint: Checkpoint) -> tuple[Task, ...]:
        """The checkpoint's tasks that have neither finished nor wait for an answer."""
        waiting = self.waiting()
        return tuple(task for task in plan(checkpoint) if task.id not in self.results and task.id not in waiting)

    def of(self, checkpoint: Checkpoint | CheckpointData) -> tuple[Outcome, ...]:
        """The checkpoint's tasks in order, each with what became of it."""
        return tuple((task, self.results.get(task.id), self.failures.get(task.id)) for task in plan(checkpoint))


def complete(checkpoint: Checkpoint, results: Mapping[str, TaskResult]) -> bool:
    """Whether a checkpoint has tasks, and all have finished, so that they can be committed."""
    tasks = plan(checkpoint)
    return bool(tasks) and all(task.id in results for task in tasks)
