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
from typing import Any

from stepgraph.channels import Channels, size_by_channel
from stepgraph.constants import START
from stepgraph.engine.branching import ByHand, Update, branch, is_virtual_author
from stepgraph.engine.checkpoint import Checkpoint, Source, Task, TaskFailure, TaskResult
from stepgraph.engine.commit import commit
from stepgraph.engine.plan import is_virtual, plan
from stepgraph.errors import CheckpointNotFoundError, GraphRecursionError, MissingNodeError, StepgraphError
from stepgraph.limits import weigh
from stepgraph.spec import GraphSpec

DEFAULT_RECURSION_LIMIT = 10_000
"""Super-steps that one invoke may take."""


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
        self._state: dict[str, Any] = {}
        self._sizes: dict[str, int] = {}
        self._steps_left = DEFAULT_RECURSION_LIMIT
        self._step_limit = DEFAULT_RECURSION_LIMIT
        if base is not None:
            self._results[base.id] = dict(results or {})
            self._failures[base.id] = dict(failures or {})
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

    def allow(self, steps: int, *, limit: int | None = None) -> None:
        """Sets how many super-steps may still be taken; ``limit`` is the caller's figure, for the message."""
        self._steps_left = steps
        self._step_limit = limit if limit is not None else steps

    @property
    def steps_left(self) -> int:
        """How many super-steps may still be taken."""
        return self._steps_left

    def accept(self, given: Mapping[str, Any]) -> Checkpoint:
        """Takes an input, as JSON data that fits the state. What was pending at the old head is discarded."""
        head = self.head
        checkpoint = Checkpoint(
            id=self._next_id(),
            parent_id=head.id if head else None,
            step=head.step + 1 if head else 0,
            source="input",
            created_at=self._clock(),
            values=head.values if head else {},
            triggers=(START,),
            input=dict(given),
        )
        self._append(checkpoint)
        return checkpoint

    def due(self) -> tuple[Task, ...]:
        """The head's tasks that are still to run, in order; empty when the thread has finished.

        Raises:
            GraphRecursionError: tasks are due, but the super-steps allowed are used up.
            MissingNodeError: the head triggers a node that the run's spec does not have.
        """
        if self.head is None:
            return ()
        self._settle()
        tasks = tuple(task for task in plan(self.head) if task.id not in self.results)
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
    ) -> Checkpoint:
        """Writes values by hand at a checkpoint, and goes on from there: the new head.

        At the head, an author whose own task is still to run there gives that task its result instead; when none is
        left the super-step commits. Without updates, nothing is written, and all at ``target`` is to run again.

        Args:
            target: a checkpoint of the thread, not only of this run; `None` on a thread that has none.
            updates: made together, as by nodes side by side.
            source: what the history is to call it.
            forked_from: the thread that ``target`` is on, where that is another one.

        Raises:
            InvalidUpdateError: several values for a channel without a reducer, or a state that grew too large.
            ReducerError: a reducer raised.
        """
        head = self.head
        at_head = target is not None and target is head
        if at_head and len(updates) == 1:
            for task in plan(self._some_head()):
                if task.node == updates[0].author and task.id not in self.results:
                    return self._finish_by_hand(task, updates[0], source)
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
        self._append(after)
        return after

    def _finish_by_hand(self, task: Task, update: Update, source: ByHand) -> Checkpoint:
        head = self._some_head()
        failure = self.failures.get(task.id)
        self.start(task)
        self.finish(task, TaskResult(writes=(dict(update.values),) if update.values else (), goto=update.goto))
        if any(each.id not in self.results for each in plan(head)):
            return head
        try:
            return self.commit(source=source)
        except StepgraphError:  # the update is refused, and the head is as it was
            del self._results[head.id][task.id]
            if failure is not None:
                self.fail(task, failure)
            raise

    def mark(self) -> int:
        """Where the log stands, for `back_to`."""
        return len(self.made)

    def back_to(self, mark: int) -> None:
        """Takes back the checkpoints made since a mark: an order of several steps that failed leaves no trace."""
        before = self.head
        for checkpoint in self.made[mark:]:
            self._results.pop(checkpoint.id, None)
            self._failures.pop(checkpoint.id, None)
        del self.made[mark:]
        if self.head is not None and before is not None:
            self._encode(self.head.values, before.values)
        elif self.head is None:
            self._state, self._sizes = {}, {}

    def start(self, task: Task) -> None:
        """A task is run (again): its old failure no longer says anything."""
        self._failures.get(task.checkpoint_id, {}).pop(task.id, None)

    def finish(self, task: Task, result: TaskResult) -> None:
        """A task has finished. Its writes take effect at the commit."""
        self._results.setdefault(task.checkpoint_id, {})[task.id] = result

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
        if head.triggers != (START,):
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
