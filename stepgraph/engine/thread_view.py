"""Everything that can be read of one run of a thread: its checkpoints, the outcomes of their tasks, its limits.

Owns the data of `stepgraph.engine.thread.Thread`, and changes none of it. Code that only reads a thread should ask for
a `ThreadView`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from stepgraph.engine._breakpoints import Breakpoints, breakpoints_for
from stepgraph.engine._encoded_state import EncodedState
from stepgraph.engine._step_errors import checkpoint_not_found_error
from stepgraph.engine.checkpoint import Checkpoint, InterruptRequest, Task, TaskFailure, TaskInterrupts, TaskResult
from stepgraph.engine.commit import entries_of, unfolded_at, values_before
from stepgraph.engine.folding import Applied, Unfolded, next_stamps, pending_values
from stepgraph.engine.spec import Durability, GraphSpec
from stepgraph.engine.taken_commands import TakenCommands
from stepgraph.engine.task_outcomes import Outcome, TaskOutcomes, complete
from stepgraph.serde.json_values import JsonValues
from stepgraph.serde.plain_json import json_size
from stepgraph.serde.sizes import size_limit

T = TypeVar("T")

DEFAULT_RECURSION_LIMIT = 10_000
"""Super-steps that one invoke may take."""


class ThreadView:
    """One run of a thread, read-only: the part of `Thread` that changes nothing.

    Args:
        spec: the graph's spec, as the run recorded it.
        thread_id: the thread's id.
        run_id: the run's id. Ids of its checkpoints begin with it.
        clock: returns the time, ISO 8601, UTC.
        base: the checkpoint from which the run goes on; `None` on a new thread.
        outcomes: the outcomes of the base's tasks so far.
        numbered_from: how many checkpoints of the run exist already, when a worker continues the run in its own memory.
            The next ones are numbered from there.
        uses_external_storage: whether the state may be as large as external storage allows.
    """

    def __init__(
        self,
        spec: GraphSpec,
        *,
        thread_id: str,
        run_id: str,
        clock: Callable[[], str],
        base: Checkpoint | None = None,
        outcomes: TaskOutcomes | None = None,
        numbered_from: int = 0,
        uses_external_storage: bool = False,
    ) -> None:
        self.spec = spec
        self.thread_id = thread_id
        self.run_id = run_id
        self.base = base
        self.checkpoints: list[Checkpoint] = []
        """The checkpoints that this run made, oldest first. The base is not among them."""
        self.taken_commands = TakenCommands()
        """The commands that the thread has taken lately, in this run and in those before it."""
        self.uses_external_storage = uses_external_storage
        self._clock = clock
        self._outcomes: dict[str, TaskOutcomes] = {}
        """By checkpoint id. A checkpoint without an entry has no outcomes."""
        self._encoded = EncodedState(
            f"The state of thread {thread_id!r}", limit=size_limit(uses_external_storage=uses_external_storage)
        )
        self._breakpoints = breakpoints_for(spec, None, None)
        self.durability: Durability | None = None
        """The durability of the invoke, in place of the graph's."""
        self._passed_breakpoint: str | None = None
        """The id of the checkpoint at which the thread has been resumed from a breakpoint."""
        self._numbered_from = numbered_from
        self._steps_left = DEFAULT_RECURSION_LIMIT
        self._step_limit = DEFAULT_RECURSION_LIMIT
        if base is not None:
            self._outcomes[base.id] = outcomes or TaskOutcomes()
            self._encoded.set_values(base.values, {})

    @property
    def head(self) -> Checkpoint | None:
        """The checkpoint that the thread goes on from; `None` on a thread without checkpoints."""
        return self.checkpoints[-1] if self.checkpoints else self.base

    @property
    def head_id(self) -> str | None:
        """The head's id; `None` on a thread without checkpoints."""
        return self.head.id if self.head else None

    @property
    def checkpoints_numbered(self) -> int:
        """How many checkpoint ids the run has given away, those of undone checkpoints included."""
        return self._numbered_from + len(self.checkpoints)

    @property
    def next_step(self) -> int:
        """The step of the checkpoint that the head's tasks lead to."""
        return self.head.step + 1 if self.head else 0

    @property
    def finished(self) -> bool:
        """Whether the head has no tasks due: the graph has run to its end."""
        return self.head is not None and not self.head.tasks

    @property
    def state(self) -> JsonValues:
        """The head's values as JSON."""
        return self._encoded.values

    @property
    def state_size(self) -> int:
        """Bytes of the head's values as JSON."""
        return self._encoded.size

    @property
    def bytes_encoded(self) -> int:
        """Bytes of JSON encoded in this run: an estimate of the memory that its checkpoints take."""
        return self._encoded.bytes_encoded

    @property
    def values_with_pending_writes(self) -> dict[str, Any]:
        """The head's values with its pending writes applied, as JSON data."""
        return {**self.state, **self.pending_values()}

    def pending_values(self) -> dict[str, Any]:
        """Return the channels that the head's pending writes change, with the values that they would have.

        The values are JSON data. A channel is left out if only the graph's code can tell its value. All are if the
        state would be too large: the commit will raise the error.
        """
        entries = entries_of(self.head, self.results) if self.head is not None else ()
        if self.head is None or not any(entry.result.writes for entry in entries):
            return {}
        head = self.head
        before = values_before(self.spec, head)
        pending = pending_values(self.spec, before, head.versions, entries, step=head.step + 1)
        return pending if json_size(pending) <= size_limit(uses_external_storage=self.uses_external_storage) else {}

    def pending_stamps(self, values: Mapping[str, Any]) -> dict[str, str]:
        """Return the stamps of pending values, by channel."""
        if self.head is None or not values:
            return {}
        entries, head = entries_of(self.head, self.results), self.head
        stamps = next_stamps(self.spec, head.stamps, head.values, {**head.values, **values}, entries, Applied())
        return {name: stamps[name] for name in values if name in stamps}

    def unfolded(self) -> Unfolded | None:
        """Return what only the graph's code can tell before the head's tasks are committed; `None` if nothing is."""
        return unfolded_at(self.spec, self._existing_head(), self.results)

    @property
    def results(self) -> dict[str, TaskResult]:
        """The results of the head's finished tasks, by task id."""
        return self._head_outcomes.results

    @property
    def failures(self) -> dict[str, TaskFailure]:
        """The failures of the head's tasks, by task id. A failure is dropped when its task runs again."""
        return self._head_outcomes.failures

    @property
    def interrupts(self) -> dict[str, TaskInterrupts]:
        """The interrupts of the head's tasks with the answers so far, by task id."""
        return self._head_outcomes.interrupts

    @property
    def waiting_interrupts(self) -> tuple[InterruptRequest, ...]:
        """The interrupts at the head that wait for an answer, in the order in which snapshots list their tasks."""
        return self._head_outcomes.waiting_interrupts(self.head) if self.head else ()

    def tracked(self, values: Mapping[str, T]) -> Mapping[str, T]:
        """Return values by channel, or what is known of them, without those that last until the next input only."""
        untracked = [channel.name for channel in self.spec.channels if channel.untracked]
        return {name: value for name, value in values.items() if name not in untracked} if untracked else values

    def nested(self, task: Task) -> Any:
        """Return what graphs inside of a task's node had done when it was last interrupted."""
        return self._head_outcomes.interrupts.get(task.id, TaskInterrupts()).nested

    def waiting_by_task(self) -> dict[str, InterruptRequest]:
        """Return the interrupts at the head that wait for an answer, by task id."""
        return self._head_outcomes.waiting_by_task()

    @property
    def complete(self) -> bool:
        """Whether the head has tasks and all of them have finished, so that the super-step can be committed."""
        return self.head is not None and complete(self.head, self.results)

    @property
    def paused(self) -> bool:
        """Whether the thread waits at a breakpoint."""
        return (
            self.head is not None and self.head.id != self._passed_breakpoint and self._breakpoints.pauses_at(self.head)
        )

    @property
    def passes_breakpoint(self) -> bool:
        """Whether the thread has been told to go on from the head even if there is a breakpoint."""
        return self.head is not None and self.head.id == self._passed_breakpoint

    @property
    def breaks(self) -> Breakpoints:
        """The breakpoints in force."""
        return self._breakpoints

    @property
    def step_limit(self) -> int:
        """Super-steps that the caller allowed: the recursion limit in its config."""
        return self._step_limit

    @property
    def steps_left(self) -> int:
        """Super-steps that may still be taken."""
        return self._steps_left

    def find(self, checkpoint_id: str | None) -> Checkpoint | None:
        """Return a checkpoint of this run, or its base; `None` if the run has no such checkpoint."""
        return next((each for each in self.newest_first() if each.id == checkpoint_id), None)

    def checkpoint(self, checkpoint_id: str) -> Checkpoint:
        """Return a checkpoint of this run, or its base.

        Raises:
            CheckpointNotFoundError: the run has no such checkpoint.
        """
        checkpoint = self.find(checkpoint_id)
        if checkpoint is None:
            raise checkpoint_not_found_error(self.run_id, self.thread_id, checkpoint_id)
        return checkpoint

    def newest_first(self) -> Iterator[Checkpoint]:
        """Iterate over the checkpoints of this run, newest first, and then its base."""
        yield from reversed(self.checkpoints)
        if self.base is not None:
            yield self.base

    def task_outcomes(self, checkpoint: Checkpoint) -> tuple[Outcome, ...]:
        """Return the tasks of a checkpoint in their order, each with its result and its failure."""
        return self.outcomes_at(checkpoint).by_task(checkpoint)

    def last_interrupts(self, checkpoint: Checkpoint) -> dict[str, InterruptRequest]:
        """Return the last interrupt of each task of a checkpoint, answered or not, by task id."""
        return self.outcomes_at(checkpoint).last_interrupts()

    def outcomes_at(self, checkpoint: Checkpoint) -> TaskOutcomes:
        """Return the outcomes of a checkpoint's tasks."""
        return self._outcomes.get(checkpoint.id, TaskOutcomes())

    def uncommitted_outcomes(self, checkpoint: Checkpoint) -> TaskOutcomes:
        """Return the outcomes of a checkpoint's tasks, unless all of them finished and a later checkpoint has them."""
        outcomes = self.outcomes_at(checkpoint)
        is_committed = checkpoint is not self.head and complete(checkpoint, outcomes.results)
        return TaskOutcomes() if is_committed else outcomes

    @property
    def _head_outcomes(self) -> TaskOutcomes:
        return self._outcomes.setdefault(self.head.id, TaskOutcomes()) if self.head else TaskOutcomes()

    def _existing_head(self) -> Checkpoint:
        assert self.head is not None, "the caller has checked that the thread has a head"
        return self.head
