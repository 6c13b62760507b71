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

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from stepgraph.channels import Channels
from stepgraph.constants import START
from stepgraph.engine.answering import answered
from stepgraph.engine.branching import ByHand, Update, branch, is_virtual_author, result_of
from stepgraph.engine.breakpoints import Breakpoints, breakpoints_for
from stepgraph.engine.checkpoint import Ask, Checkpoint, Interview, Source, Task, TaskFailure, TaskResult
from stepgraph.engine.commit import commit, with_pending
from stepgraph.engine.encoded import EncodedState
from stepgraph.engine.outcomes import Outcome, Outcomes, complete
from stepgraph.engine.plan import is_virtual, plan
from stepgraph.engine.refusals import missing_node, no_checkpoint, used_up
from stepgraph.errors import StepgraphError
from stepgraph.json_values import JsonValues
from stepgraph.spec import GraphSpec

DEFAULT_RECURSION_LIMIT = 10_000
"""Super-steps that one invoke may take."""


class Mark(NamedTuple):
    """Where a thread stood: how many checkpoints it had made, and what had become of the head's tasks."""

    made: int
    outcomes: Outcomes
    steps_left: int


class Thread:
    """One run's view of its thread. Not safe for use by several OS threads at once; it never needs to be."""

    def __init__(
        self,
        spec: GraphSpec,
        channels: Channels,
        *,
        thread_id: str,
        run_id: str,
        clock: Callable[[], str],
        base: Checkpoint | None = None,
        outcomes: Outcomes | None = None,
        numbered_from: int = 0,
    ) -> None:
        self.spec = spec
        self.channels = channels
        self.thread_id = thread_id
        self.run_id = run_id
        self.base = base
        self.made: list[Checkpoint] = []
        """The checkpoints of this run, oldest first; its base is not among them."""
        self._clock = clock
        self._outcomes: dict[str, Outcomes] = {}
        self._encoded = EncodedState(channels, f"The state of thread {thread_id!r}")
        self._breaks = breakpoints_for(spec, None, None)
        self._numbered_from = numbered_from
        self._passed: str | None = None
        self._steps_left = DEFAULT_RECURSION_LIMIT
        self._step_limit = DEFAULT_RECURSION_LIMIT
        if base is not None:
            self._outcomes[base.id] = outcomes or Outcomes()
            self._encoded.move(base.values, {})

    @property
    def head(self) -> Checkpoint | None:
        """The checkpoint the thread goes on from; `None` on a thread that has none yet."""
        return self.made[-1] if self.made else self.base

    @property
    def head_id(self) -> str | None:
        """The id of the head, if there is one."""
        return self.head.id if self.head else None

    @property
    def finished(self) -> bool:
        """Whether nothing is left to run."""
        return self.head is not None and not self.head.triggers

    @property
    def state(self) -> JsonValues:
        """The head's values as JSON."""
        return self._encoded.values

    @property
    def shown(self) -> dict[str, Any]:
        """The head's values as JSON data with what its finished tasks wrote, which is not committed yet."""
        return {**self.state, **self.pending_values()}

    def pending_values(self) -> dict[str, Any]:
        """The channels that finished tasks of the head wrote to, as they would be after that."""
        if self.head is None:
            return {}
        values = with_pending(self.channels, self.head, self.results)
        before = self.head.values
        return self.channels.encode(
            {name: value for name, value in values.items() if name not in before or value is not before[name]}
        )

    @property
    def state_size(self) -> int:
        """Bytes of the head's values as JSON, not counting keys and separators."""
        return self._encoded.size

    @property
    def results(self) -> dict[str, TaskResult]:
        """What the head's finished tasks left, by task id, while siblings of theirs have not finished."""
        return self._at_head.results

    @property
    def failures(self) -> dict[str, TaskFailure]:
        """Why tasks of the head failed, by task id; a task that is run again is taken off."""
        return self._at_head.failures

    @property
    def interviews(self) -> dict[str, Interview]:
        """What the head's tasks have asked, by task id, with the answers so far."""
        return self._at_head.interviews

    @property
    def questions(self) -> tuple[Ask, ...]:
        """The questions at the head that wait for an answer, in the order of the tasks."""
        return self._at_head.questions(self.head) if self.head else ()

    @property
    def paused(self) -> bool:
        """Whether the thread stands at a breakpoint that nobody has told it to pass."""
        return self.head is not None and self.head.id != self._passed and self._breaks.stop_at(self.head)

    @property
    def complete(self) -> bool:
        """Whether the head has tasks, and all have finished, so that they can be committed."""
        return self.head is not None and complete(self.head, self.results)

    @property
    def breaks(self) -> Breakpoints:
        """The breakpoints in force."""
        return self._breaks

    @property
    def step_limit(self) -> int:
        """How many super-steps the last who asked for more allowed."""
        return self._step_limit

    def break_at(self, before: Sequence[str] | None, after: Sequence[str] | None) -> None:
        """Sets the breakpoints of this invoke; `None` leaves those of the graph."""
        self._breaks = breakpoints_for(self.spec, before, after)

    @property
    def passes_on(self) -> bool:
        """Whether somebody told it to go on from a breakpoint at the head."""
        return self.head is not None and self.head.id == self._passed

    def pass_on(self) -> None:
        """Goes on from a breakpoint at the head."""
        self._passed = self.head_id

    def allow(self, steps: int, *, limit: int | None = None) -> None:
        """Sets how many super-steps may still be taken; ``limit`` is the caller's figure, for the message."""
        self._steps_left = steps
        self._step_limit = limit if limit is not None else steps

    def renew(self) -> None:
        """Allows as many super-steps as at first: somebody asked for more."""
        self._steps_left = self._step_limit

    @property
    def steps_left(self) -> int:
        """How many super-steps may still be taken."""
        return self._steps_left

    def accept(self, given: Mapping[str, Any]) -> Checkpoint:
        """Takes an input, as JSON data that fits the state. What was pending at the old head is discarded."""
        head = self.head
        self._encoded.weigh_with(given)
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
        self.made.append(checkpoint)
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
        kept: Outcomes | None = None,
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
        head = self.head
        at_head = target is not None and target is head
        left = Outcomes()
        if target is not None and updates:
            left = self.left_at(target) if target.id in self._outcomes else kept or left
            pending = {task.node: task for task in plan(target) if task.id not in left.results}
            tasks = [pending.pop(each.author) for each in updates if each.author in pending]
            if len(tasks) == len(updates) and at_head:
                return self._finish_by_hand(tasks, updates, source)
            if len(tasks) == len(updates) and left.results:
                return self._finish_elsewhere(target, tasks, updates, left, source, forked_from)
        after = branch(
            self.spec,
            self.channels,
            target,
            updates,
            source=source,
            forked_from=forked_from,
            id=self._next_id(),
            created_at=self._clock(),
        )
        self._encoded.move(after.values, head.values if head else {})
        if updates and all(is_virtual_author(self.spec, each.author) for each in updates):
            self._outcomes[after.id] = left.copy()
        self.made.append(after)
        return after

    def _finish_by_hand(self, tasks: Sequence[Task], updates: Sequence[Update], source: ByHand) -> Checkpoint:
        head, before = self._some_head(), self.mark()
        for task, update in zip(tasks, updates, strict=True):
            self._at_head.start(task)
            self._at_head.finish(task, result_of(update))
        if not self.complete:
            return head
        try:
            return self.commit(source=source)
        except StepgraphError:  # the update is refused, and the head is as it was
            self.back_to(before)
            raise

    def _finish_elsewhere(
        self,
        target: Checkpoint,
        tasks: Sequence[Task],
        updates: Sequence[Update],
        left: Outcomes,
        source: ByHand,
        forked_from: str | None,
    ) -> Checkpoint:
        """The same on a branch of its own, where the target is not the head: finished siblings keep their results."""
        outcomes = left.copy()
        for task, update in zip(tasks, updates, strict=True):
            outcomes.start(task)
            outcomes.finish(task, result_of(update))
        grown: dict[str, Any] = {"id": self._next_id(), "created_at": self._clock(), "source": source}
        if done := complete(target, outcomes.results):
            after = commit(self.spec, self.channels, target, outcomes.results, **grown)
        else:
            after = replace(target, **grown, parent_id=target.id, step=target.step + 1)
        after = replace(after, forked_from=forked_from)
        self._encoded.move(after.values, self.head.values if self.head else {})
        if not done:
            self._outcomes[after.id] = outcomes
        self.made.append(after)
        return after

    def mark(self) -> Mark:
        """Where the thread stands, for `back_to`."""
        return Mark(len(self.made), self._at_head.copy(), self._steps_left)

    def back_to(self, mark: Mark) -> None:
        """Takes back what was done since a mark: an order of several steps that failed leaves no trace."""
        before = self.head
        for checkpoint in self.made[mark.made :]:
            self._outcomes.pop(checkpoint.id, None)
        del self.made[mark.made :]
        self._steps_left = mark.steps_left
        if self.head is None:
            self._encoded.clear()
            return
        self._outcomes[self.head.id] = mark.outcomes.copy()
        if before is not None:
            self._encoded.move(self.head.values, before.values)

    def start(self, task: Task) -> None:
        """A task is run (again): its old failure no longer says anything."""
        self._outcomes_of(task).start(task)

    def finish(self, task: Task, result: TaskResult) -> None:
        """A task has finished, and its writes take effect at the commit; or its node asks something first."""
        if result.ask is not None:
            self.ask(task, result.ask)
        else:
            self._outcomes_of(task).finish(task, result)

    def ask(self, task: Task, ask: Ask) -> None:
        """A task's node asks people something before it can finish."""
        self._outcomes_of(task).ask(task, ask, now=self._clock())

    def answers(self, task: Task) -> tuple[Any, ...]:
        """What a task's questions were answered with."""
        return self._outcomes_of(task).interviews.get(task.id, Interview()).answers

    def answer(self, resume: Any) -> None:
        """Answers questions at the head: the one that waits, or several by a mapping from their ids.

        Raises:
            InvalidUpdateError: nothing waits, several do and none is named, or an id is not one of theirs.
        """
        after = answered(self.interviews, self.questions, resume, thread_id=self.thread_id)
        self._at_head.interviews = after

    def fail(self, task: Task, failure: TaskFailure) -> None:
        """A task has failed for good."""
        self._outcomes_of(task).failures[task.id] = failure

    def take(self, results: Mapping[str, TaskResult], *, created_at: str) -> Checkpoint:
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
        self._encoded.move(after.values, head.values)
        if head.triggers != (START,) and source == "loop":
            self._steps_left -= 1
        self.made.append(after)
        return after

    def checkpoint(self, checkpoint_id: str) -> Checkpoint:
        """A checkpoint of this run, or its base. `CheckpointNotFoundError` otherwise."""
        for checkpoint in self.newest_first():
            if checkpoint.id == checkpoint_id:
                return checkpoint
        raise no_checkpoint(self.run_id, self.thread_id, checkpoint_id)

    def newest_first(self) -> Iterator[Checkpoint]:
        """The checkpoints of this run, then its base."""
        yield from reversed(self.made)
        if self.base is not None:
            yield self.base

    def outcomes(self, checkpoint: Checkpoint) -> tuple[Outcome, ...]:
        """The tasks of a checkpoint, each with what became of it."""
        return self._outcomes.get(checkpoint.id, Outcomes()).of(checkpoint)

    def left_at(self, checkpoint: Checkpoint) -> Outcomes:
        """What there is of a checkpoint's tasks beyond the checkpoints after it: nothing where these have it all."""
        found = self._outcomes.get(checkpoint.id, Outcomes())
        return Outcomes() if checkpoint is not self.head and complete(checkpoint, found.results) else found

    def asked(self, checkpoint: Checkpoint) -> dict[str, Ask]:
        """What the tasks of a checkpoint asked last, answered or not, by task id."""
        return self._outcomes.get(checkpoint.id, Outcomes()).asked()

    def waiting(self) -> dict[str, Ask]:
        """The questions at the head that wait for an answer, by task id."""
        return self._at_head.waiting()

    @property
    def _at_head(self) -> Outcomes:
        return self._outcomes.setdefault(self.head.id, Outcomes()) if self.head else Outcomes()

    def _outcomes_of(self, task: Task) -> Outcomes:
        return self._outcomes.setdefault(task.checkpoint_id, Outcomes())

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

    def _some_head(self) -> Checkpoint:
        assert self.head is not None, "the caller has looked"
        return self.head

    def _next_id(self) -> str:
        return f"{self.run_id}.{self._numbered_from + len(self.made) + 1:06d}"
