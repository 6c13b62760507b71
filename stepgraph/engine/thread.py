"""The log of one run of a thread: every checkpoint it made, and what the tasks at its head have done so far.

How it works. A thread has a *head*, the checkpoint it goes on from. `Thread.due` names the head's tasks that are
still to run; whoever runs them tells `finish` or `fail`; once all have finished, `commit` makes the next checkpoint,
which becomes the head::

    while tasks := thread.due():
        run(tasks)                # finish() or fail() for each
        thread.commit()

A run that ends leaves a `Record` (`stepgraph.engine.record`), from which the thread's next run is built; the head it
took over is its *base*. Results of tasks whose siblings failed are kept at the head, so they are not run again.

Pure: ids come from the run's id and a sequence, time from the ``clock`` passed in. The Temporal workflow and the
in-memory runner both drive this class, and nothing else decides what happens next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from stepgraph.engine._breakpoints import breakpoints_for
from stepgraph.engine._resume import answered
from stepgraph.engine._step_errors import missing_node, used_up
from stepgraph.engine.checkpoint import (
    Checkpoint,
    InterruptRequest,
    Source,
    Task,
    TaskFailure,
    TaskInterrupts,
    TaskResult,
)
from stepgraph.engine.commit import commit
from stepgraph.engine.constants import START
from stepgraph.engine.plan import is_virtual, plan
from stepgraph.engine.state_update import (
    ByHand,
    Update,
    branch,
    finish_tasks,
    is_virtual_author,
    tasks_of,
    with_results,
)
from stepgraph.engine.task_outcomes import TaskOutcomes
from stepgraph.engine.thread_view import ThreadView
from stepgraph.errors import StepgraphError


class Savepoint(NamedTuple):
    """Where a thread stood: how many checkpoints it had made, and what had become of the head's tasks."""

    checkpoints: int
    outcomes: TaskOutcomes
    steps_left: int


class Thread(ThreadView):
    """One run's view of its thread. Not safe for use by several OS threads at once; it never needs to be."""

    def set_breakpoints(self, before: Sequence[str] | None, after: Sequence[str] | None) -> None:
        """Sets the breakpoints of this invoke; `None` leaves those of the graph."""
        self._breaks = breakpoints_for(self.spec, before, after)

    def pass_breakpoint(self) -> None:
        """Goes on from a breakpoint at the head."""
        self._passed = self.head_id

    def limit_steps(self, steps: int, *, limit: int | None = None) -> None:
        """Sets how many super-steps may still be taken; ``limit`` is the caller's figure, for the message."""
        self._steps_left = steps
        self._step_limit = limit if limit is not None else steps

    def reset_steps(self) -> None:
        """Allows as many super-steps as at first: somebody asked for more."""
        self._steps_left = self._step_limit

    def accept_input(self, given: Mapping[str, Any]) -> Checkpoint:
        """Takes an input, as JSON data that fits the state. What was pending at the old head is discarded."""
        head = self.head
        self._encoded.check_size_with(given)
        checkpoint = Checkpoint(
            id=self._next_id(),
            parent_id=head.id if head else None,
            step=head.step + 1 if head else 0,
            source="input",
            created_at=self._clock(),
            values=head.values if head else {},
            triggers=(START,),
            joins=head.joins if head else {},
            input=dict(given),
        )
        self.checkpoints.append(checkpoint)
        return checkpoint

    def due(self) -> tuple[Task, ...]:
        """The head's tasks that are to run now, in order; empty when the thread has finished, waits or is paused.

        Raises:
            GraphRecursionError: tasks are due, but the super-steps allowed are used up.
            MissingNodeError: the head triggers a node that the run's spec does not have.
        """
        if self.head is None:
            return ()
        self._settle()
        if self.paused:
            return ()
        tasks = self._at_head.due(self.head)
        if tasks and self._steps_left <= 0:
            raise used_up(self.spec, tasks, self._step_limit)
        for task in tasks:
            if task.node != START and task.node not in self.spec.node_names:
                raise missing_node(self.spec, task, self.thread_id)
        return tasks

    def update(
        self,
        target: Checkpoint | None,
        updates: Sequence[Update],
        *,
        source: ByHand = "update",
        forked_from: str | None = None,
        kept: TaskOutcomes | None = None,
    ) -> Checkpoint:
        """Writes values by hand at a checkpoint, and goes on from there: the new head.

        Authors whose own tasks are still to run at ``target`` give those tasks their results instead; when none is
        left the super-step commits. Without updates, nothing is written, and all at ``target`` is to run again.

        Args:
            target: a checkpoint of the thread, not only of this run; `None` on a thread that has none.
            updates: made together, as by nodes side by side.
            source: what the history is to call it.
            forked_from: the thread that ``target`` is on, where that is another one.
            kept: what had become of the tasks of ``target``, where another run made it.

        Raises:
            InvalidUpdateError: several values for a channel without a reducer, or a state that grew too large.
            ReducerError: a reducer raised.
        """
        before, at_head = self.head, target is not None and target is self.head
        left = TaskOutcomes()
        if target is not None and updates:
            left = self.uncommitted_at(target) if target.id in self._outcomes else kept or left
        tasks = tasks_of(target, updates, left)
        if tasks and at_head:
            return self._finish_by_hand(tasks, updates, source)
        named: dict[str, Any] = {"id": self._next_id(), "created_at": self._clock(), "source": source}
        named["forked_from"] = forked_from
        if target is not None and tasks and left.results:
            after, pending = finish_tasks(self.spec, self.channels, target, tasks, updates, left, **named)
        else:
            after = branch(self.spec, self.channels, target, updates, **named)
            by_nobody = updates and all(is_virtual_author(self.spec, each.author) for each in updates)
            pending = left.copy() if by_nobody else TaskOutcomes()
        self._encoded.set_values(after.values, before.values if before else {})
        self._outcomes[after.id] = pending
        self.checkpoints.append(after)
        return after

    def _finish_by_hand(self, tasks: Sequence[Task], updates: Sequence[Update], source: ByHand) -> Checkpoint:
        head, before = self._some_head(), self.savepoint()
        self._outcomes[head.id] = with_results(self._at_head, tasks, updates)
        if not self.complete:
            return head
        try:
            return self.commit(source=source)
        except StepgraphError:  # the update is refused, and the head is as it was
            self.roll_back(before)
            raise

    def savepoint(self) -> Savepoint:
        """Where the thread stands, for `roll_back`."""
        return Savepoint(len(self.checkpoints), self._at_head.copy(), self._steps_left)

    def roll_back(self, mark: Savepoint) -> None:
        """Takes back what was done since a mark: an order of several steps that failed leaves no trace."""
        before = self.head
        for checkpoint in self.checkpoints[mark.checkpoints :]:
            self._outcomes.pop(checkpoint.id, None)
        del self.checkpoints[mark.checkpoints :]
        self._steps_left = mark.steps_left
        if self.head is None:
            self._encoded.clear()
            return
        self._outcomes[self.head.id] = mark.outcomes.copy()
        if before is not None:
            self._encoded.set_values(self.head.values, before.values)

    def start(self, task: Task) -> None:
        """A task is run (again): its old failure no longer says anything."""
        self._outcomes_of(task).start(task)

    def finish(self, task: Task, result: TaskResult) -> None:
        """A task has finished, and its writes take effect at the commit; or its node asks something first."""
        if result.interrupt is not None:
            self.interrupt(task, result.interrupt)
        else:
            self._outcomes_of(task).finish(task, result)

    def interrupt(self, task: Task, ask: InterruptRequest) -> None:
        """A task's node asks people something before it can finish."""
        self._outcomes_of(task).interrupt(task, ask, now=self._clock())

    def answers(self, task: Task) -> tuple[Any, ...]:
        """What a task's questions were answered with."""
        return self._outcomes_of(task).interrupts.get(task.id, TaskInterrupts()).answers

    def answer(self, resume: Any) -> None:
        """Answers questions at the head: the one that waits, or several by a mapping from their ids.

        Raises:
            InvalidUpdateError: nothing waits, several do and none is named, or an id is not one of theirs.
        """
        after = answered(self.interrupts, self.waiting_interrupts, resume, thread_id=self.thread_id)
        self._at_head.interrupts = after

    def fail(self, task: Task, failure: TaskFailure) -> None:
        """A task has failed for good."""
        self._outcomes_of(task).failures[task.id] = failure

    def commit_results(self, results: Mapping[str, TaskResult], *, created_at: str) -> Checkpoint:
        """Commits a super-step of the head that was run elsewhere, all of it. Raises like `commit`."""
        for task in plan(self._some_head()):
            self.start(task)
            self.finish(task, results[task.id])
        return self.commit(created_at=created_at)

    def commit(self, *, source: Source = "loop", created_at: str | None = None) -> Checkpoint:
        """Applies all results at the head together. On an error the head, and what its tasks left, stay as they are.

        Raises:
            InvalidUpdateError: several values for a channel without a reducer, or a state that grew too large.
            ReducerError: a reducer raised, or made what its channel cannot hold.
        """
        head = self._some_head()
        after = commit(
            self.spec,
            self.channels,
            head,
            self.results,
            id=self._next_id(),
            created_at=created_at or self._clock(),
            source=source,
        )
        self._encoded.set_values(after.values, head.values)
        if head.triggers != (START,) and source == "loop":
            self._steps_left -= 1
        self.checkpoints.append(after)
        return after

    def _settle(self) -> None:
        """Commits what needs nobody to run any more.

        That is the input, where no router has to be asked, and a super-step whose commit failed in an earlier run.
        """
        while tasks := plan(self._some_head()):
            for task in tasks:
                if is_virtual(self.spec, task) and task.id not in self.results:
                    self.finish(task, TaskResult(writes=(dict(self._some_head().input or {}),)))
            if any(task.id not in self.results for task in tasks):
                return
            self.commit()

    def _next_id(self) -> str:
        return f"{self.run_id}.{self._numbered_from + len(self.checkpoints) + 1:06d}"
