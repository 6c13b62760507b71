"""Where a thread stands: all that can be asked of it, and nothing that changes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from stepgraph.engine._breakpoints import Breakpoints, breakpoints_for
from stepgraph.engine._encoded_state import EncodedState
from stepgraph.engine._step_errors import no_checkpoint
from stepgraph.engine.channels import Channels
from stepgraph.engine.checkpoint import Checkpoint, InterruptRequest, Task, TaskFailure, TaskInterrupts, TaskResult
from stepgraph.engine.commit import with_pending
from stepgraph.engine.spec import GraphSpec
from stepgraph.engine.task_outcomes import Outcome, TaskOutcomes, complete
from stepgraph.serde.json_values import JsonValues
from stepgraph.serde.sizes import size_limit

DEFAULT_RECURSION_LIMIT = 10_000
"""Super-steps that one invoke may take."""


class ThreadView:
    """A thread that is looked at: its checkpoints, and what has become of the tasks at each."""

    def __init__(
        self,
        spec: GraphSpec,
        channels: Channels,
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
        self.channels = channels
        self.thread_id = thread_id
        self.run_id = run_id
        self.base = base
        self.checkpoints: list[Checkpoint] = []
        """The checkpoints of this run, oldest first; its base is not among them."""
        self._clock = clock
        self._outcomes: dict[str, TaskOutcomes] = {}
        self.uses_external_storage = uses_external_storage
        """Whether external storage takes what Temporal does not carry."""
        self._encoded = EncodedState(
            channels,
            f"The state of thread {thread_id!r}",
            limit=size_limit(uses_external_storage=uses_external_storage),
        )
        self._breaks = breakpoints_for(spec, None, None)
        self._numbered_from = numbered_from
        self._passed: str | None = None
        self._steps_left = DEFAULT_RECURSION_LIMIT
        self._step_limit = DEFAULT_RECURSION_LIMIT
        if base is not None:
            self._outcomes[base.id] = outcomes or TaskOutcomes()
            self._encoded.set_values(base.values, {})

    @property
    def head(self) -> Checkpoint | None:
        """The checkpoint the thread goes on from; `None` on a thread that has none yet."""
        return self.checkpoints[-1] if self.checkpoints else self.base

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
    def bytes_encoded(self) -> int:
        """Bytes of JSON of all values in this run: about what its checkpoints take in memory."""
        return self._encoded.bytes_encoded

    @property
    def values_with_pending_writes(self) -> dict[str, Any]:
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
    def interrupts(self) -> dict[str, TaskInterrupts]:
        """What the head's tasks have asked, by task id, with the answers so far."""
        return self._at_head.interrupts

    @property
    def waiting_interrupts(self) -> tuple[InterruptRequest, ...]:
        """The questions at the head that wait for an answer, in the order of the tasks."""
        return self._at_head.waiting_interrupts(self.head) if self.head else ()

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

    @property
    def passes_breakpoint(self) -> bool:
        """Whether somebody told it to go on from a breakpoint at the head."""
        return self.head is not None and self.head.id == self._passed

    @property
    def steps_left(self) -> int:
        """How many super-steps may still be taken."""
        return self._steps_left

    def checkpoint(self, checkpoint_id: str) -> Checkpoint:
        """A checkpoint of this run, or its base. `CheckpointNotFoundError` otherwise."""
        for checkpoint in self.newest_first():
            if checkpoint.id == checkpoint_id:
                return checkpoint
        raise no_checkpoint(self.run_id, self.thread_id, checkpoint_id)

    def newest_first(self) -> Iterator[Checkpoint]:
        """The checkpoints of this run, then its base."""
        yield from reversed(self.checkpoints)
        if self.base is not None:
            yield self.base

    def task_outcomes(self, checkpoint: Checkpoint) -> tuple[Outcome, ...]:
        """The tasks of a checkpoint, each with what became of it."""
        return self._outcomes.get(checkpoint.id, TaskOutcomes()).by_task(checkpoint)

    def outcomes_at(self, checkpoint: Checkpoint) -> TaskOutcomes:
        """What became of a checkpoint's tasks."""
        return self._outcomes.get(checkpoint.id, TaskOutcomes())

    def uncommitted_at(self, checkpoint: Checkpoint) -> TaskOutcomes:
        """What there is of a checkpoint's tasks beyond the checkpoints after it: nothing where these have it all."""
        found = self.outcomes_at(checkpoint)
        return TaskOutcomes() if checkpoint is not self.head and complete(checkpoint, found.results) else found

    def last_interrupts(self, checkpoint: Checkpoint) -> dict[str, InterruptRequest]:
        """What the tasks of a checkpoint asked last, answered or not, by task id."""
        return self._outcomes.get(checkpoint.id, TaskOutcomes()).last_interrupts()

    def waiting_by_task(self) -> dict[str, InterruptRequest]:
        """The questions at the head that wait for an answer, by task id."""
        return self._at_head.waiting_by_task()

    @property
    def _at_head(self) -> TaskOutcomes:
        return self._outcomes.setdefault(self.head.id, TaskOutcomes()) if self.head else TaskOutcomes()

    def _outcomes_of(self, task: Task) -> TaskOutcomes:
        return self._outcomes.setdefault(task.checkpoint_id, TaskOutcomes())

    def _some_head(self) -> Checkpoint:
        assert self.head is not None, "the caller has looked"
        return self.head
