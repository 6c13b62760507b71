"""The inputs that wait in line for a running thread to stand still.

The line goes from run to run (`StartOptions.queue`), so a client that has its ticket may go away. Each input begins a
run of its own, by continue-as-new, which is also how the invocation before it ends while others wait: its record, and
the error if it failed, are in that event.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from stepgraph.engine.constants import START
from stepgraph.engine.record import Record
from stepgraph.errors import StepgraphError, ThreadBusyError
from stepgraph.protocol.wire import InvokeOrder, Order, Queued, StartOptions
from stepgraph.serde.type_codec import json_size

MAX_QUEUED = 100
MAX_QUEUED_BYTES = 100_000
"""Of all inputs in line: they share a payload with the thread's record."""

MAX_ERROR_BYTES = 20_000
"""Of the error of the invocation before, beside them."""


class Queue:
    """The line."""

    def __init__(self) -> None:
        self._waiting: deque[Queued] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def waiting(self) -> tuple[Queued, ...]:
        """Who waits, the next one first."""
        return tuple(self._waiting)

    def take_over(self, waiting: Sequence[Queued]) -> None:
        """Goes on with the line of the run before."""
        self._waiting.extend(waiting)

    def check(self, thread_id: str, order: InvokeOrder) -> None:
        """`ThreadBusyError` where one more would be too many."""
        size = json_size(order) + sum(json_size(each.order) for each in self._waiting)
        if len(self) < MAX_QUEUED and size <= MAX_QUEUED_BYTES:
            return
        raise ThreadBusyError(
            f"Thread {thread_id!r} is running, and {len(self)} inputs wait in line already. All together they may be "
            f"{MAX_QUEUED} and have {MAX_QUEUED_BYTES:,} bytes, which this one would exceed. Wait, or use another "
            "thread id.",
            thread_id=thread_id,
        )

    def add(self, ticket: str, order: InvokeOrder) -> None:
        """The last in line; the first, if it had the nodes stopped."""
        queued = Queued(ticket=ticket, order=order)
        if order.on_busy == "cancel":
            self._waiting.appendleft(queued)
        else:
            self._waiting.append(queued)

    def next_run(
        self, run_id: str, record: Record | None, error: StepgraphError | None
    ) -> tuple[dict[str, object] | None, StartOptions]:
        """The input and the options of the run that the first in line begins."""
        first = self._waiting.popleft()
        order, given, fork = first.order, first.order.input, None
        if order.checkpoint_id is not None:
            fork = Order(values=given, as_node=None if given is None else START, checkpoint_id=order.checkpoint_id)
            given = None
        return given, StartOptions(
            after=run_id,
            caller=first.ticket,
            turn=first.ticket,
            recursion_limit=order.recursion_limit,
            config=order.config,
            record=record,
            error=_short(error) if error is not None else None,
            queue=self.waiting,
            fork=fork,
            interrupt_before=order.interrupt_before,
            interrupt_after=order.interrupt_after,
        )


def _short(error: StepgraphError) -> dict[str, object]:
    """An error as it is told, without what would make it too large to be handed on."""
    told = error.to_wire()
    if json_size(told) > MAX_ERROR_BYTES:
        told["parts"] = {name: part for name, part in told["parts"].items() if json_size(part) < MAX_ERROR_BYTES // 20}
        told["message"] = told["message"][: MAX_ERROR_BYTES // 4]
    return told
