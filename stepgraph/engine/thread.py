"""One run of a thread: its checkpoints, and what the tasks at its head have done so far.

How it works. A thread has a *head*, the checkpoint that it goes on from. `Thread.due` returns the head's tasks that are
to run. The caller runs them, and records each outcome with `finish` or `fail`. When all tasks have finished, `commit`
makes the next checkpoint, which becomes the head. Where only the graph's code can fold what the tasks wrote,
`unfolded` says so, and the caller has it done before::

    while not thread.finished:
        run(thread.due())         # finish() or fail() for each
        if thread.complete:
            unfolded = thread.unfolded()
            thread.commit(apply_writes(unfolded) if unfolded else Applied())

A run that ends leaves a `Record` (`stepgraph.engine.record`), from which the thread's next run is restored. The head in
the record is the next run's *base*. When a task fails, the results of its siblings stay at the head, so that only the
failed task runs again.

Deterministic: ids come from the run's id and a sequence number, time from the ``clock`` that is passed in. No code of
the graph runs here. The Temporal workflow, the activity for fused super-steps and the in-memory runner all drive this
class.

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
    new_tasks,
)
from stepgraph.engine.commit import NOTHING_APPLIED, commit
from stepgraph.engine.constants import START
from stepgraph.engine.folding import Applied
from stepgraph.engine.ids import checkpoint_id
from stepgraph.engine.plan import incomplete_joins, needs_no_code
from stepgraph.engine.state_update import BranchFields, PlannedUpdate, Update, UpdateSource, branch, plan_update
from stepgraph.engine.taken_commands import TakenCommand
from stepgraph.engine.task_outcomes import TaskOutcomes
from stepgraph.engine.thread_view import ThreadView
from stepgraph.errors import PayloadTooLargeError, StepgraphError
from stepgraph.serde.plain_json import json_size


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

    def accept_input(
        self,
        input_data: Mapping[str, Any],
        stamps: Mapping[str, str] | None = None,
        *,
        parent: Checkpoint | None = None,
    ) -> Checkpoint:
        """Make a checkpoint from an input, which becomes the head. Pending writes at the old head are dropped.

        Args:
            input_data: JSON data that fits the state.
            stamps: the stamps of its values that differ from those of the run's spec.
            parent: the checkpoint that the new one follows; the head by default.

        Raises:
            PayloadTooLargeError: the input does not fit into the state's size limit.
        """
        head = parent or self.head
        if parent is not None and self.head is not None:
            self._encoded.set_values(parent.values, self.head.values)
        self._encoded.check_input_size(input_data)
        id = self._next_id()
        checkpoint = Checkpoint(
            id=id,
            parent_id=head.id if head else None,
            step=head.step + 1 if head else 0,
            source="input",
            created_at=self._clock(),
            values=self.tracked(head.values) if head else {},
            tasks=new_tasks(id, (START,)),
            joins=incomplete_joins(head.joins, head.deferred) if head else {},
            deferred=head.deferred if head else (),
            input=dict(input_data),
            input_stamps=self.spec.stamps_of(input_data) | dict(stamps or {}),
            versions=self.tracked(head.versions) if head else {},
            stamps=self.tracked(head.stamps) if head else {},
        )
        self._encoded.set_values(checkpoint.values, head.values if head else {})
        self.checkpoints.append(checkpoint)
        return checkpoint

    def due(self) -> tuple[Task, ...]:
        """Finish the start node's task if it needs no code, and return the head's tasks that are to run now, in order.

        None are if the thread is idle, or `complete`.

        Raises:
            GraphRecursionError: tasks are due, but no super-steps are left.
            MissingNodeError: a task's node is not in the run's spec.
        """
        if self.head is None:
            return ()
        for task in self.head.tasks:
            if needs_no_code(self.spec, task) and task.id not in self.results:
                self.finish(task, TaskResult(writes=(dict(self.head.input or {}),)))
        if self.complete or self.paused:
            return ()
        tasks = self._head_outcomes.due(self.head)
        if tasks and self._steps_left <= 0:
            raise recursion_error(self.spec, tasks, self._step_limit, self.head.step)
        for task in tasks:
            if task.node != START and not self.spec.has_node(task.node):
                raise missing_node_error(self.spec, task, self.thread_id)
        return tasks

    def start(self, task: Task) -> None:
        """Record that a task runs, or runs again: drop the failure of its earlier run."""
        self._head_outcomes.start(task)

    def finish(self, task: Task, result: TaskResult) -> None:
        """Record a task's result, whose writes take effect at the commit; or the interrupt that it waits at."""
        head = self._existing_head()
        if result.interrupt is not None:
            self.interrupt(task, result.interrupt)
            return
        if task.node == START:  # it writes the input, whatever code it ran
            result = result.model_copy(update={"stamps": {**result.stamps, **head.input_stamps}})
        self._head_outcomes.finish(task, result.starting_from(head.versions))

    def fail(self, task: Task, failure: TaskFailure) -> None:
        """Record that a task failed after its last attempt."""
        self._head_outcomes.failures[task.id] = failure

    def interrupt(self, task: Task, request: InterruptRequest) -> None:
        """Record that a task waits for an answer; that it failed if what it asks is too large beside the state."""
        try:
            self._check_interrupts({**self.interrupts, "": TaskInterrupts(requests=(request,))})
        except PayloadTooLargeError as error:
            error_type = f"{type(error).__module__}:{type(error).__name__}"
            self.fail(task, TaskFailure(error_type=error_type, error_message=error.message))
            return
        self._head_outcomes.interrupt(task, request, now=self._clock())

    def answer(self, resume: Any) -> None:
        """Record answers to interrupts at the head.

        Args:
            resume: the answer to the only interrupt that waits, or a mapping from interrupt id to answer.

        Raises:
            InvalidUpdateError: no interrupt waits; or several do, and the resume value does not say which one it is
                for; or an interrupt id is unknown.
            PayloadTooLargeError: the answers are too large beside the state.
        """
        answered = with_answers(self.interrupts, self.waiting_interrupts, resume, thread_id=self.thread_id)
        self._check_interrupts(answered)
        self._head_outcomes.interrupts = answered

    def answers(self, task: Task) -> tuple[Any, ...]:
        """Return the answers to a task's interrupts, in order."""
        return self._head_outcomes.interrupts.get(task.id, TaskInterrupts()).answers

    def commit(
        self, applied: Applied = NOTHING_APPLIED, *, source: Source = "loop", created_at: str | None = None
    ) -> Checkpoint:
        """Apply the writes of all tasks at the head together. The new checkpoint becomes the head.

        If it raises, the head and the outcomes of its tasks stay.

        Args:
            applied: what the graph's code told, if `unfolded` asked.
            source: why the checkpoint is made.
            created_at: its time, ISO 8601, UTC; by default now.

        Raises:
            InvalidUpdateError: several tasks wrote to a channel without a reducer, or one wrote to an unknown channel.
            PayloadTooLargeError: the state has become too large.
            ReducerError: a built-in fold failed.
        """
        head = self._existing_head()
        results = {**self.results, **applied.results}
        checkpoint = commit(
            self.spec,
            head,
            results,
            applied,
            id=self._next_id(),
            created_at=created_at or self._clock(),
            source=source,
        )
        self._encoded.set_values(checkpoint.values, head.values, sent=checkpoint.bytes_sent)
        self._head_outcomes.results = results
        if not head.takes_input and source == "loop":
            self._steps_left -= 1
        self.checkpoints.append(checkpoint)
        return checkpoint

    def commit_results(self, results: Mapping[str, TaskResult], applied: Applied, *, created_at: str) -> Checkpoint:
        """Record the results of all tasks at the head, by task id, and commit them. Raises like `commit`."""
        for task in self._existing_head().tasks:
            self.start(task)
            self.finish(task, results[task.id])
        return self.commit(applied, created_at=created_at)

    def plan_update(
        self, target: Checkpoint | None, updates: Sequence[Update], target_outcomes: TaskOutcomes | None = None
    ) -> PlannedUpdate:
        """Return what the updates of one super-step do to a checkpoint's tasks. Changes nothing yet; see `update`.

        Args:
            target: any checkpoint of the thread, also one of an earlier run; `None` on a thread without checkpoints.
            updates: the updates of one super-step. Without any, all tasks of ``target`` run again (a replay).
            target_outcomes: the outcomes of the target's tasks if another run made it.

        Raises:
            InvalidUpdateError: an update does not say which task of its author is meant.
        """
        outcomes = TaskOutcomes()
        if target is not None and updates:
            is_of_this_run = target.id in self._outcomes
            outcomes = self.uncommitted_outcomes(target) if is_of_this_run else target_outcomes or outcomes
        return plan_update(target, updates, outcomes, at_head=target is not None and target is self.head)

    def update(
        self,
        planned: PlannedUpdate,
        applied: Applied = NOTHING_APPLIED,
        *,
        source: UpdateSource = "update",
        forked_from: str | None = None,
    ) -> Checkpoint:
        """Write values at a checkpoint, and go on from there. Return the head.

        If every author is a node that is still due there, the updates become the results of their tasks, and the
        super-step is committed once all its tasks have results. Otherwise the updates make a new checkpoint that
        branches off.

        Args:
            planned: the updates, from `plan_update`.
            applied: what the graph's code told of them, if `unfolded_by` asked.
            source: the new checkpoint's source.
            forked_from: the thread id of the target if it is on another thread.

        Raises:
            InvalidUpdateError: several updates write to a channel without a reducer, or one to an unknown channel.
            PayloadTooLargeError: the state would become too large.
            ReducerError: a built-in fold failed.
        """
        head = self.head
        if planned.tasks and planned.at_head:
            return self._update_head(planned, applied, source)
        fields = BranchFields(self._next_id(), self._clock(), source, forked_from)
        branched, pending = branch(self.spec, planned, applied, fields)
        self._encoded.set_values(branched.values, head.values if head else {}, sent=branched.bytes_sent)
        self._outcomes[branched.id] = pending
        self.checkpoints.append(branched)
        return branched

    def remember_command(self, id: str) -> None:
        """Remember that this run has applied the command with this id, and that it led to the head."""
        taken = TakenCommand(id=id, run_id=self.run_id, checkpoint_id=self.head_id, taken_at=self._clock())
        self.taken_commands.add(taken)

    def savepoint(self) -> Savepoint:
        """Return the point to which `roll_back` returns."""
        return Savepoint(len(self.checkpoints), self._head_outcomes.copy(), self._steps_left)

    def roll_back(self, savepoint: Savepoint) -> None:
        """Undo all changes since a savepoint, so that a command of several super-steps has all its effects or none."""
        head = self.head
        for checkpoint in self.checkpoints[savepoint.checkpoints :]:
            self._outcomes.pop(checkpoint.id, None)
        self._numbered_from += len(self.checkpoints) - savepoint.checkpoints  # a reader may have seen their ids
        del self.checkpoints[savepoint.checkpoints :]
        self._steps_left = savepoint.steps_left
        if self.head is None:
            self._encoded.clear()
            return
        self._outcomes[self.head.id] = savepoint.outcomes.copy()
        if head is not None:
            self._encoded.set_values(self.head.values, head.values)

    def _update_head(self, planned: PlannedUpdate, applied: Applied, source: UpdateSource) -> Checkpoint:
        """Record updates as results of tasks at the head, and commit if all tasks have results then."""
        head, savepoint = self._existing_head(), self.savepoint()
        self._outcomes[head.id] = planned.outcomes.copy()
        if not self.complete:
            return head
        try:
            return self.commit(applied, source=source)
        except StepgraphError:  # the update is refused: the head must keep its tasks as they were
            self.roll_back(savepoint)
            raise

    def _check_interrupts(self, interrupts: Mapping[str, TaskInterrupts]) -> None:
        """Raise `PayloadTooLargeError` if the state and its interrupts with their answers exceed the limit together."""
        self._encoded.check_beside("its interrupts and answers", sum(map(json_size, interrupts.values())))

    def _next_id(self) -> str:
        return checkpoint_id(self.run_id, self.checkpoints_numbered + 1)
