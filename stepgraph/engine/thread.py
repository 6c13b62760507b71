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

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from stepgraph.channels import Channels, size_by_channel
from stepgraph.constants import START
from stepgraph.engine.branching import ByHand, Update, branch, is_virtual_author
from stepgraph.engine.checkpoint import Ask, Checkpoint, Interview, Source, Task, TaskFailure, TaskResult
from stepgraph.engine.commit import commit
from stepgraph.engine.plan import is_virtual, plan
from stepgraph.errors import (
    CheckpointNotFoundError,
    GraphRecursionError,
    InvalidUpdateError,
    MissingNodeError,
    StepgraphError,
)
from stepgraph.limits import weigh
from stepgraph.spec import GraphSpec

DEFAULT_RECURSION_LIMIT = 10_000
"""Super-steps that one invoke may take."""


class Mark(NamedTuple):
    """Where a thread stood: how many checkpoints it had made, and what had become of the head's tasks."""

    made: int
    results: dict[str, TaskResult]
    failures: dict[str, TaskFailure]
    interviews: dict[str, Interview]
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
        results: Mapping[str, TaskResult] | None = None,
        failures: Mapping[str, TaskFailure] | None = None,
        interviews: Mapping[str, Interview] | None = None,
    ) -> None:
        self.spec = spec
        self.channels = channels
        self.thread_id = thread_id
        self.run_id = run_id
        self.base = base
        self.made: list[Checkpoint] = []
        """The checkpoints of this run, oldest first; its base is not among them."""
        self._clock = clock
        self._results: dict[str, dict[str, TaskResult]] = {}
        self._failures: dict[str, dict[str, TaskFailure]] = {}
        self._interviews: dict[str, dict[str, Interview]] = {}
        self._passed: str | None = None
        self._breaks: tuple[tuple[str, ...], tuple[str, ...]] = (spec.interrupt_before, spec.interrupt_after)
        self._state: dict[str, Any] = {}
        self._sizes: dict[str, int] = {}
        self._steps_left = DEFAULT_RECURSION_LIMIT
        self._step_limit = DEFAULT_RECURSION_LIMIT
        if base is not None:
            self._results[base.id] = dict(results or {})
            self._failures[base.id] = dict(failures or {})
            self._interviews[base.id] = dict(interviews or {})
            self._encode(base.values, {})

    @property
    def head(self) -> Checkpoint | None:
        """The checkpoint the thread goes on from; `None` on a thread that has none yet."""
        return self.made[-1] if self.made else self.base

    @property
    def finished(self) -> bool:
        """Whether nothing is left to run."""
        return self.head is not None and not self.head.triggers

    @property
    def state(self) -> dict[str, Any]:
        """The head's values as JSON data. Share it, never edit it."""
        return self._state

    @property
    def state_size(self) -> int:
        """Bytes of the head's values as JSON, not counting keys and separators."""
        return sum(self._sizes.values())

    @property
    def results(self) -> dict[str, TaskResult]:
        """What the head's finished tasks left, by task id, while siblings of theirs have not finished."""
        return self._results.get(self.head.id, {}) if self.head else {}

    @property
    def failures(self) -> dict[str, TaskFailure]:
        """Why tasks of the head failed, by task id; a task that is run again is taken off."""
        return self._failures.get(self.head.id, {}) if self.head else {}

    @property
    def interviews(self) -> dict[str, Interview]:
        """The questions of the head's tasks that have not finished, by task id, with the answers so far."""
        return self._interviews.get(self.head.id, {}) if self.head else {}

    @property
    def questions(self) -> tuple[Ask, ...]:
        """The questions at the head that wait for an answer, in the order of the tasks."""
        if self.head is None:
            return ()
        open_asks = (self.interviews[task.id].open for task in plan(self.head) if task.id in self.interviews)
        return tuple(ask for ask in open_asks if ask is not None)

    @property
    def paused(self) -> bool:
        """Whether the thread stands at a breakpoint that nobody has told it to pass."""
        head = self.head
        if head is None or head.id == self._passed or not head.triggers or head.triggers == (START,):
            return False
        before, after = self._breaks
        wrote = [name for name in head.writes or () if name != START] if head.source == "loop" else []
        return _any_of(before, head.triggers) or _any_of(after, wrote)

    @property
    def complete(self) -> bool:
        """Whether the head has tasks, and all have finished, so that they can be committed."""
        tasks = plan(self.head) if self.head else ()
        return bool(tasks) and all(task.id in self.results for task in tasks)

    @property
    def breaks(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The breakpoints in force: before these nodes, and after those."""
        return self._breaks

    @property
    def step_limit(self) -> int:
        """How many super-steps the last who asked for more allowed."""
        return self._step_limit

    def break_at(self, before: Sequence[str] | None, after: Sequence[str] | None) -> None:
        """Sets the breakpoints of this invoke; `None` leaves those of the graph."""
        self._breaks = (
            self.spec.interrupt_before if before is None else tuple(before),
            self.spec.interrupt_after if after is None else tuple(after),
        )

    def pass_on(self) -> None:
        """Goes on from a breakpoint at the head."""
        self._passed = self.head.id if self.head else None

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
        weigh(f"The state of thread {self.thread_id!r} with its input", _sum(self._sizes, size_by_channel(given)))
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
        self._append(checkpoint)
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
        waiting = [name for name, interview in self.interviews.items() if interview.open is not None]
        tasks = tuple(task for task in plan(self.head) if task.id not in self.results and task.id not in waiting)
        if tasks and self._steps_left <= 0:
            raise GraphRecursionError(
                f"Graph {self.spec.name!r} took the {self._step_limit} super-steps it was allowed and is not done "
                f"(next: {', '.join(repr(task.node) for task in tasks)}). If that is no endless loop, resume the "
                "thread, or set a higher 'recursion_limit' in the config.",
                limit=self._step_limit,
                step=self.head.step,
            )
        for task in tasks:
            if task.node != START and task.node not in self.spec.node_names:
                raise MissingNodeError(
                    f"Thread {self.thread_id!r} goes on at node {task.node!r}, but graph {self.spec.name!r} "
                    f"({self.spec.hash}) has no such node. Deploy a worker that has it, then resume the thread.",
                    graph=self.spec.name,
                    node=task.node,
                    thread_id=self.thread_id,
                    worker_spec=self.spec.hash,
                )
        return tasks

    def update(
        self,
        target: Checkpoint | None,
        updates: Sequence[Update],
        *,
        source: ByHand = "update",
        forked_from: str | None = None,
        kept: Mapping[str, TaskResult] | None = None,
    ) -> Checkpoint:
        """Writes values by hand at a checkpoint, and goes on from there: the new head.

        Authors whose own tasks are still to run at ``target`` give those tasks their results instead; when none is
        left the super-step commits. Without updates, nothing is written, and all at ``target`` is to run again.

        Args:
            target: a checkpoint of the thread, not only of this run; `None` on a thread that has none.
            updates: made together, as by nodes side by side.
            source: what the history is to call it.
            forked_from: the thread that ``target`` is on, where that is another one.
            kept: what tasks of ``target`` had finished with, where another run made it.

        Raises:
            InvalidUpdateError: several values for a channel without a reducer, or a state that grew too large.
            ReducerError: a reducer raised.
        """
        head = self.head
        at_head = target is not None and target is head
        if target is not None and updates:
            kept = self._results.get(target.id, kept or {})
            pending = {task.node: task for task in plan(target) if task.id not in kept}
            tasks = [pending.pop(each.author) for each in updates if each.author in pending]
            if len(tasks) == len(updates) and at_head:
                return self._finish_by_hand(tasks, updates, source)
            if len(tasks) == len(updates) and kept:
                return self._finish_elsewhere(target, tasks, updates, kept, source, forked_from)
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
        self._encode(after.values, head.values if head else {})
        if at_head and updates and all(is_virtual_author(self.spec, each.author) for each in updates):
            self._results[after.id] = dict(self.results)
            self._failures[after.id] = dict(self.failures)
            self._interviews[after.id] = dict(self.interviews)
        self._append(after)
        return after

    def _finish_by_hand(self, tasks: Sequence[Task], updates: Sequence[Update], source: ByHand) -> Checkpoint:
        head, before = self._some_head(), self.mark()
        for task, update in zip(tasks, updates, strict=True):
            self.start(task)
            self.finish(task, _by_hand(update))
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
        kept: Mapping[str, TaskResult],
        source: ByHand,
        forked_from: str | None,
    ) -> Checkpoint:
        """The same on a branch of its own, where the target is not the head: finished siblings keep their results."""
        results = {**kept, **{task.id: _by_hand(update) for task, update in zip(tasks, updates, strict=True)}}
        made: dict[str, Any] = {"id": self._next_id(), "created_at": self._clock(), "source": source}
        if complete := all(task.id in results for task in plan(target)):
            after = commit(self.spec, self.channels, target, results, **made)
        else:
            after = replace(target, **made, parent_id=target.id, step=target.step + 1)
        after = replace(after, forked_from=forked_from)
        self._encode(after.values, self.head.values if self.head else {})
        if not complete:
            self._results[after.id] = results
        self._append(after)
        return after

    def mark(self) -> Mark:
        """Where the thread stands, for `back_to`."""
        outcomes = (dict(self.results), dict(self.failures), dict(self.interviews))
        return Mark(len(self.made), *outcomes, self._steps_left)

    def back_to(self, mark: Mark) -> None:
        """Takes back what was done since a mark: an order of several steps that failed leaves no trace."""
        before = self.head
        for checkpoint in self.made[mark.made :]:
            for outcomes in (self._results, self._failures, self._interviews):
                outcomes.pop(checkpoint.id, None)
        del self.made[mark.made :]
        self._steps_left = mark.steps_left
        if self.head is None:
            self._state, self._sizes = {}, {}
            return
        self._results[self.head.id] = dict(mark.results)
        self._failures[self.head.id] = dict(mark.failures)
        self._interviews[self.head.id] = dict(mark.interviews)
        if before is not None:
            self._encode(self.head.values, before.values)

    def start(self, task: Task) -> None:
        """A task is run (again): its old failure no longer says anything."""
        self._failures.get(task.checkpoint_id, {}).pop(task.id, None)

    def finish(self, task: Task, result: TaskResult) -> None:
        """A task has finished, and its writes take effect at the commit; or its node asks something first."""
        if result.ask is not None:
            self.ask(task, result.ask)
            return
        self._interviews.get(task.checkpoint_id, {}).pop(task.id, None)
        self._results.setdefault(task.checkpoint_id, {})[task.id] = result

    def ask(self, task: Task, ask: Ask) -> None:
        """A task's node asks people something before it can finish."""
        if ask.timeout is not None:
            deadline = datetime.fromisoformat(self._clock()) + timedelta(seconds=ask.timeout)
            ask = ask.model_copy(update={"deadline": deadline.isoformat()})
        asked = self._interviews.setdefault(task.checkpoint_id, {})
        before = asked.get(task.id, Interview())
        asked[task.id] = before.model_copy(update={"asks": (*before.asks, ask)})

    def answers(self, task: Task) -> tuple[Any, ...]:
        """What a task's questions were answered with."""
        return self._interviews.get(task.checkpoint_id, {}).get(task.id, Interview()).answers

    def answer(self, resume: Any) -> None:
        """Answers questions at the head: the one that waits, or several by a mapping from their ids.

        Raises:
            InvalidUpdateError: nothing waits, several do and none is named, or an id is not one of theirs.
        """
        ids = [ask.id for ask in self.questions]
        if not ids:
            raise InvalidUpdateError(
                f"Thread {self.thread_id!r} does not wait for an answer.", thread_id=self.thread_id
            )
        if isinstance(resume, Mapping) and resume and all(isinstance(key, str) and _is_id(key) for key in resume):
            unknown = [key for key in resume if key not in ids]
            if unknown:
                raise InvalidUpdateError(
                    f"No interrupt {unknown[0]!r} waits for an answer on thread {self.thread_id!r}; these do: "
                    f"{', '.join(map(repr, ids))}.",
                    thread_id=self.thread_id,
                )
            given = dict(resume)
        elif len(ids) == 1:
            given = {ids[0]: resume}
        else:
            raise InvalidUpdateError(
                f"{len(ids)} interrupts wait for answers on thread {self.thread_id!r}. Say which is meant: a mapping "
                f"from id to answer, of {', '.join(map(repr, ids))}.",
                thread_id=self.thread_id,
            )
        for task_id, interview in self.interviews.items():
            if interview.open is not None and interview.open.id in given:
                after = (*interview.answers, given[interview.open.id])
                self.interviews[task_id] = interview.model_copy(update={"answers": after})

    def fail(self, task: Task, failure: TaskFailure) -> None:
        """A task has failed for good."""
        self._failures.setdefault(task.checkpoint_id, {})[task.id] = failure

    def commit(self, *, source: Source = "loop") -> Checkpoint:
        """Applies all results at the head together. On an error the head, and what its tasks left, stay as they are.

        Raises:
            InvalidUpdateError: several values for a channel without a reducer, or a state that grew too large.
            ReducerError: a reducer raised, or made what its channel cannot hold.
        """
        head = self._some_head()
        after = commit(
            self.spec, self.channels, head, self.results, id=self._next_id(), created_at=self._clock(), source=source
        )
        self._encode(after.values, head.values)
        if head.triggers != (START,) and source == "loop":
            self._steps_left -= 1
        self._append(after)
        return after

    def checkpoint(self, checkpoint_id: str) -> Checkpoint:
        """A checkpoint of this run, or its base. `CheckpointNotFoundError` otherwise."""
        for checkpoint in self.newest_first():
            if checkpoint.id == checkpoint_id:
                return checkpoint
        raise CheckpointNotFoundError(
            f"Run {self.run_id} of thread {self.thread_id!r} has no checkpoint {checkpoint_id!r}.",
            thread_id=self.thread_id,
            checkpoint_id=checkpoint_id,
        )

    def newest_first(self) -> Iterator[Checkpoint]:
        """The checkpoints of this run, then its base."""
        yield from reversed(self.made)
        if self.base is not None:
            yield self.base

    def outcomes(self, checkpoint: Checkpoint) -> tuple[tuple[Task, TaskResult | None, TaskFailure | None], ...]:
        """The tasks of a checkpoint, each with what became of it."""
        results = self._results.get(checkpoint.id, {})
        failures = self._failures.get(checkpoint.id, {})
        return tuple((task, results.get(task.id), failures.get(task.id)) for task in plan(checkpoint))

    def asked(self, checkpoint: Checkpoint) -> dict[str, Ask | None]:
        """The questions that wait at a checkpoint, by task id."""
        return {name: interview.open for name, interview in self._interviews.get(checkpoint.id, {}).items()}

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

    def _append(self, checkpoint: Checkpoint) -> None:
        self.made.append(checkpoint)

    def _next_id(self) -> str:
        return f"{self.run_id}.{len(self.made) + 1:06d}"

    def _encode(self, values: Mapping[str, Any], before: Mapping[str, Any]) -> None:
        """Encodes the channels that changed; raises before anything is kept."""
        changed = {name: value for name, value in values.items() if name not in before or value is not before[name]}
        encoded = self.channels.encode(changed)
        sizes = {**{name: size for name, size in self._sizes.items() if name in values}, **size_by_channel(encoded)}
        weigh(f"The state of thread {self.thread_id!r}", sizes)
        self._state = {name: encoded[name] if name in encoded else self._state[name] for name in values}
        self._sizes = {name: sizes[name] for name in values}


def _sum(sizes: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    return {name: sizes.get(name, 0) + more.get(name, 0) for name in (*sizes, *more)}


def _by_hand(update: Update) -> TaskResult:
    return TaskResult(writes=(dict(update.values),) if update.values else (), goto=update.goto)


def _any_of(breaks: Sequence[str], names: Sequence[str]) -> bool:
    return bool(names) and ("*" in breaks or any(name in breaks for name in names))


def _is_id(text: str) -> bool:
    """Whether a text looks like an interrupt's id: an answer may itself be a mapping."""
    return re.fullmatch(r"[0-9a-f]{16}", text) is not None
