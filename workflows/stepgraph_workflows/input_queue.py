"""The inputs that wait until a running thread is idle.

The queue crosses continue-as-new (`ContinuedRun.input_queue`), so a client that has its queued input's id may go away.
Each input begins a run of its own, by continue-as-new. That is also how the invocation before it ends while others
wait: its record, and its error if it failed, are in that event.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from stepgraph.engine.record import Record
from stepgraph.errors import StepgraphError, ThreadBusyError
from stepgraph.protocol.commands import InvokeCommand, QueuedInput
from stepgraph.protocol.start_options import ContinuedRun, StartOptions
from stepgraph.serde.plain_json import json_size

MAX_QUEUED_INPUTS = 100
MAX_QUEUED_BYTES = 100_000
"""Bytes of all queued inputs together: they share a payload with the thread's record."""

MAX_ERROR_BYTES = 20_000
"""Bytes of the error of the invocation before, which shares that payload, too."""


class InputQueue:
    """The inputs that wait, the next one first."""

    def __init__(self) -> None:
        self._inputs: deque[QueuedInput] = deque()

    def __len__(self) -> int:
        return len(self._inputs)

    @property
    def inputs(self) -> tuple[QueuedInput, ...]:
        """All that wait, the next one first."""
        return tuple(self._inputs)

    def restore(self, inputs: Sequence[QueuedInput]) -> None:
        """Continue with the queue of the run before."""
        self._inputs.extend(inputs)

    def has(self, id: str) -> bool:
        """Return whether the input with this id waits."""
        return any(each.id == id for each in self._inputs)

    def check_room(self, thread_id: str, command: InvokeCommand) -> None:
        """Raise `ThreadBusyError` if one more input would exceed the queue's limits."""
        size = json_size(command) + sum(json_size(each.command) for each in self._inputs)
        if len(self) < MAX_QUEUED_INPUTS and size <= MAX_QUEUED_BYTES:
            return
        raise ThreadBusyError(
            f"Thread {thread_id!r} is running, and {len(self)} inputs are queued already. The queue takes at most "
            f"{MAX_QUEUED_INPUTS} inputs with {MAX_QUEUED_BYTES:,} bytes together, which this one would exceed. Wait, "
            "or use another thread id.",
            thread_id=thread_id,
        )

    def add(self, id: str, command: InvokeCommand) -> None:
        """Queue an input: as the last one, or as the next one if it had the running nodes cancelled."""
        queued = QueuedInput(id=id, command=command)
        if command.on_busy == "cancel":
            self._inputs.appendleft(queued)
        else:
            self._inputs.append(queued)

    def next_run(
        self, run_id: str, record: Record | None, error: StepgraphError | None
    ) -> tuple[dict[str, Any] | None, StartOptions]:
        """Return the arguments of the run that begins with the next input. The queue of this run stays as it is.

        Args:
            run_id: the run that ends now.
            record: the thread's record.
            error: what the invocation that ends now failed with.
        """
        queued, *later = self._inputs
        command = queued.command
        is_fork = command.checkpoint_id is not None
        return None if is_fork else command.input, StartOptions(
            after=run_id,
            caller=queued.id,
            recursion_limit=command.recursion_limit,
            config=command.config,
            interrupt_before=command.interrupt_before,
            interrupt_after=command.interrupt_after,
            durability=command.durability,
            types=command.types,
            fork=command.as_fork() if is_fork else None,
            continued=ContinuedRun(
                record=record,
                queued_input_id=queued.id,
                error=shortened(error) if error is not None else None,
                input_queue=tuple(later),
            ),
        )


def shortened(error: StepgraphError) -> dict[str, Any]:
    """Return an error in its wire form, with less text and no large parts if it is too large beside a record."""
    data = error.to_wire()
    if json_size(data) > MAX_ERROR_BYTES:
        data["parts"] = {name: part for name, part in data["parts"].items() if json_size(part) < MAX_ERROR_BYTES // 20}
        data["message"] = data["message"][: MAX_ERROR_BYTES // 4]
    return data
