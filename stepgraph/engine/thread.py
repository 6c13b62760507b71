"""One run of a thread: its checkpoints, and what the tasks at its head have done so far.

How it works. A thread has a *head*, the checkpoint that it goes on from. `Thread.due` returns the head's tasks that are
to run. The caller runs them, and records each outcome with `finish` or `fail`. When all tasks have finished, `commit`
makes the next checkpoint, which becomes the head::

    while tasks := thread.due():
        run(tasks)                # finish() or fail() for each
        thread.commit()

A run that ends leaves a `Record` (`stepgraph.engine.record`), from which the thread's next run is restored. The head in
the record is the next run's *base*. When a task fails, the results of its siblings stay at the head, so that only the
failed task runs again.

Deterministic: ids come from the run's id and a sequence number, time from the ``clock`` that is passed in. The Temporal
workflow, the activity for fused super-steps and the in-memory runner all drive this class.

What can be read of a thread is in `stepgraph.engine.thread_view`. This module has what changes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from stepgraph.engine._breakpoints import breakpoints_for
from stepgraph.engine._resume import with_answers
from stepgraph.engine._step_errors import missing_node_error, recursion_error
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
    Update,
    UpdateSource,
    branch,
    branch_with_results,
    is_virtual_author,
    tasks_replaced,
    with_update_results,
)
from stepgraph.engine.task_outcomes import TaskOutcomes
from stepgraph.engine.thread_view import ThreadView
from stepgraph.errors import StepgraphError


class Savepoint(NamedTuple):
    """What `Thread.roll_back` needs to undo later changes."""

    checkpoints: int
    """How many checkpoints the run had made."""
    outcomes: TaskOutcomes
    """The outcomes of the head's tasks."""
    steps_left: int


class Thread(ThreadView):
    """One run of a thread. Takes the arguments of `ThreadView`. Not safe for use by several OS threads at once."""

    def set_breakpoints(self, before: Sequence[str] | None, after: Sequence[str] | None) -> None:
        """Set the breakpoints of an invoke; `None` stands for those that the graph was compiled with."""
        self._breakpoints = breakpoints_for(self.spec, before, after)

    def pass_breakpoint(self) -> None:
        """Go on from the head even if there is a breakpoint."""
        self._passed_breakpoint = self.head_id

    def limit_steps(self, steps: int, *, limit: int | None = None) -> None:
        """Set how many super-steps may still be taken.

        Args:
            steps: super-steps from now on.
            limit: the recursion limit that the caller gave, if some of it has been used up in earlier runs. Error
                messages quote it, and `reset_steps` returns to it.
        """
        self._steps_left = steps
        self._step_limit = limit if limit is not None else steps

    def reset_steps(self) -> None:
        """Allow as many super-steps again as the recursion limit says."""
        self._steps_left = self._step_limit

    def accept_input(self, input_data: Mapping[str, Any]) -> Checkpoint:
        """Make a checkpoint from an input, which becomes the head. Pending writes at the old head are dropped.

        Args:
            input_data: JSON data that fits the state.

        Raises:
            PayloadTooLargeError: the input does not fit into the state's size limit.
        """
        head = self.head
        self._encoded.check_input_size(input_data)
        checkpoint = Checkpoint(
            id=self._next_id(),
            parent_id=head.id if head else None,
            step=head.step + 1 if head else 0,
            source="input",
            created_at=self._clock(),
            values=head.values if head else {},
            triggers=(START,),
            joins=head.joins if head else {},
            input=dict(input_data),
        )
        self.checkpoints.append(checkpoint)
        return checkpoint

    def due(self) -> tuple[Task, ...]:
        """Return the head's tasks that are to run now, in order; none if the thread is idle.

        First commits the super-steps that need no code run, such as an input's, so the head may change.

        Raises:
            GraphRecursionError: tasks are due, but no super-steps are left.
            MissingNodeError: a task's node is not in the run's spec.
            InvalidUpdateError, PayloadTooLargeError, ReducerError: see `commit`.
        """
        if self.head is None:
            return ()
        self._commit_without_running()
        if self.paused:
            return ()
        tasks = self._head_outcomes.due(self.head)
        if tasks and self._steps_left <= 0:
            raise recursion_error(self.spec, tasks, self._step_limit)
        for task in tasks:
            if task.node != START and task.node not in self.spec.node_names:
                raise missing_node_error(self.spec, task, self.thread_id)
        return tasks

    def start(self, task: Task) -> None:
        """Record that a task runs, or runs again: drop the failure of its earlier run."""
        self._outcomes_for(task).start(task)

    def finish(self, task: Task, result: TaskResult) -> None:
        """Record a task's result, whose writes take effect at the commit; or the interrupt that it waits at."""
        if result.interrupt is not None:
            self.interrupt(task, result.interrupt)
        else:
            self._outcomes_for(task).finish(task, result)

    def fail(self, task: Task, failure: TaskFailure) -> None:
        """Record that a task failed after its last attempt."""
        self._outcomes_for(task).failures[task.id] = failure

    def interrupt(self, task: Task, request: InterruptRequest) -> None:
        """Record that a task waits for an answer."""
        self._outcomes_for(task).interrupt(task, request, now=self._clock())

    def answer(self, resume: Any) -> None:
        """Record answers to interrupts at the head.

        Args:
            resume: the answer to the only interrupt that waits, or a mapping from interrupt id to answer.

        Raises:
            InvalidUpdateError: no interrupt waits; or several do, and the resume value does not say which one it is
                for; or an interrupt id is unknown.
        """
        self._head_outcomes.interrupts = with_answers(
            self.interrupts, self.waiting_interrupts, resume, thread_id=self.thread_id
        )

    def answers(self, task: Task) -> tuple[Any, ...]:
        """Return the answers to a task's interrupts, in order."""
        return self._outcomes_for(task).interrupts.get(task.id, TaskInterrupts()).answers

    def commit(self, *, source: Source = "loop", created_at: str | None = None) -> Checkpoint:
        """Apply the writes of all tasks at the head together. The new checkpoint becomes the head.

        If it raises, the head and the outcomes of its tasks stay.

        Args:
            source: why the checkpoint is made.
            created_at: its time, ISO 8601, UTC; by default now.

        Raises:
            InvalidUpdateError: several tasks wrote to a channel without a reducer.
            PayloadTooLargeError: the state has become too large.
            ReducerError: a reducer raised, or returned a value that its channel cannot hold.
        """
        head = self._existing_head()
        checkpoint = commit(
            self.spec,
            self.channels,
            head,
            self.results,
            id=self._next_id(),
            created_at=created_at or self._clock(),
            source=source,
        )
        self._encoded.set_values(checkpoint.values, head.values)
        if head.triggers != (START,) and source == "loop":
            self._steps_left -= 1
        self.checkpoints.append(checkpoint)
        return checkpoint

    def commit_results(self, results: Mapping[str, TaskResult], *, created_at: str) -> Checkpoint:
        """Record the results of all tasks at the head, by task id, and commit them. Raises like `commit`."""
        for task in plan(self._existing_head()):
            self.start(task)
            self.finish(task, results[task.id])
        return self.commit(created_at=created_at)

    def update(
        self,
        target: Checkpoint | None,
        updates: Sequence[Update],
        *,
        source: UpdateSource = "update",
        forked_from: str | None = None,
        target_outcomes: TaskOutcomes | None = None,
    ) -> Checkpoint:
        """Write values at a checkpoint, and go on from there. Return the head.

        If every author is a node that is still due at ``target``, the updates become the results of their tasks, and
        the super-step is committed once all its tasks have results. Otherwise the updates make a new checkpoint that
        branches off ``target``.

        Args:
            target: any checkpoint of the thread, also one of an earlier run; `None` on a thread without checkpoints.
            updates: the updates of one super-step. Without any, all tasks of ``target`` run again (a replay).
            source: the new checkpoint's source.
            forked_from: the thread id of ``target`` if it is on another thread.
            target_outcomes: the outcomes of the target's tasks if another run made it.

        Raises:
            InvalidUpdateError: several updates write to a channel without a reducer.
            PayloadTooLargeError: the state would become too large.
            ReducerError: a reducer raised, or returned a value that its channel cannot hold.
        """
        head = self.head
        outcomes = TaskOutcomes()
        if target is not None and updates:
            is_of_this_run = target.id in self._outcomes
            outcomes = self.uncommitted_outcomes(target) if is_of_this_run else target_outcomes or outcomes
        tasks = tasks_replaced(target, updates, outcomes)
        if tasks and target is head:
            return self._update_head(tasks, updates, source)
        fields: dict[str, Any] = {
            "id": self._next_id(),
            "created_at": self._clock(),
            "source": source,
            "forked_from": forked_from,
        }
        if target is not None and tasks and outcomes.results:
            branched, pending = branch_with_results(
                self.spec, self.channels, target, tasks, updates, outcomes, **fields
            )
        else:
            branched = branch(self.spec, self.channels, target, updates, **fields)
            only_virtual_authors = updates and all(is_virtual_author(self.spec, each.author) for each in updates)
            pending = outcomes.copy() if only_virtual_authors else TaskOutcomes()
        self._encoded.set_values(branched.values, head.values if head else {})
        self._outcomes[branched.id] = pending
        self.checkpoints.append(branched)
        return branched

    def savepoint(self) -> Savepoint:
        """Return the point to which `roll_back` returns."""
        return Savepoint(len(self.checkpoints), self._head_outcomes.copy(), self._steps_left)

    def roll_back(self, savepoint: Savepoint) -> None:
        """Undo all changes since a savepoint, so that a command of several super-steps has all its effects or none."""
        head = self.head
        for checkpoint in self.checkpoints[savepoint.checkpoints :]:
            self._outcomes.pop(checkpoint.id, None)
        del self.checkpoints[savepoint.checkpoints :]
        self._steps_left = savepoint.steps_left
        if self.head is None:
            self._encoded.clear()
            return
        self._outcomes[self.head.id] = savepoint.outcomes.copy()
        if head is not None:
            self._encoded.set_values(self.head.values, head.values)

    def _update_head(self, tasks: Sequence[Task], updates: Sequence[Update], source: UpdateSource) -> Checkpoint:
        """Record updates as results of tasks at the head, and commit if all tasks have results then."""
        head, savepoint = self._existing_head(), self.savepoint()
        self._outcomes[head.id] = with_update_results(self._head_outcomes, tasks, updates)
        if not self.complete:
            return head
        try:
            return self.commit(source=source)
        except StepgraphError:  # the update is refused: the head must keep its tasks as they were
            self.roll_back(savepoint)
            raise

    def _commit_without_running(self) -> None:
        """Commit every super-step at the head that needs no code run.

        These are an input, if no router decides where the graph begins, and a super-step whose tasks have all finished
        but whose commit failed in an earlier run.
        """
        while tasks := plan(self._existing_head()):
            for task in tasks:
                if is_virtual(self.spec, task) and task.id not in self.results:
                    self.finish(task, TaskResult(writes=(dict(self._existing_head().input or {}),)))
            if any(task.id not in self.results for task in tasks):
                return
            self.commit()

    def _next_id(self) -> str:
        return f"{self.run_id}.{self._numbered_from + len(self.checkpoints) + 1:06d}"
