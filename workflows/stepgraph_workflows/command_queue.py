"""Updates and forks that arrive while a run is open: queued, and carried out one after the other at a boundary."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, FailureError

from stepgraph.engine.record import Record
from stepgraph.engine.thread import Thread
from stepgraph.errors import StepgraphError, from_wire
from stepgraph.execution import apply_command as orders
from stepgraph.execution.apply_command import AnyOrder, Kind, Outside
from stepgraph.execution.apply_command import check as check_order
from stepgraph.execution.registry import GraphCode
from stepgraph.execution.run_node import RouteRequest
from stepgraph.protocol.snapshot import config_for
from stepgraph.protocol.wire import READ_CHECKPOINT, ROUTE, ReadRequest
from stepgraph.temporal.payloads import from_raw, to_raw

__all__ = ["AnyOrder", "Kind", "Orders", "Pending", "apply", "check_order"]

ONCE = RetryPolicy(maximum_attempts=1)
A_FEW_TIMES = RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_attempts=5)


@dataclass
class Pending:
    """An order, until it has been carried out."""

    kind: Kind
    order: AnyOrder
    done: bool = False
    config: dict[str, Any] | None = None
    """The config of the checkpoint it made."""
    error: StepgraphError | None = None
    heard: Callable[[StepgraphError], None] | None = None
    """For an order by signal, which nobody waits for: who is told of an error."""


class Orders:
    """The orders of a run, in the order of their arrival."""

    def __init__(self) -> None:
        self.waiting: deque[Pending] = deque()

    def add(self, kind: Kind, order: AnyOrder, heard: Callable[[StepgraphError], None] | None = None) -> Pending:
        """Queues an order."""
        pending = Pending(kind, order, heard=heard)
        self.waiting.append(pending)
        return pending

    def refuse(self, error: StepgraphError) -> None:
        """Tells the first in the queue that its turn will not come."""
        pending = self.waiting.popleft()
        pending.error = error
        if pending.heard is not None:
            pending.heard(error)
        pending.done = True

    async def carry_out(self, thread: Thread, code: GraphCode, config: dict[str, Any]) -> list[Pending]:
        """Carries out what is queued; each order says itself how it went. Those that were, in order."""
        finished = []
        while self.waiting:
            pending = self.waiting.popleft()
            try:
                await apply(thread, code, config, pending.kind, pending.order)
                pending.config = config_for(thread.thread_id, thread.head_id)
            except StepgraphError as error:
                pending.error = error
                if pending.heard is not None:
                    pending.heard(error)
            pending.done = True
            finished.append(pending)
        return finished


async def apply(thread: Thread, code: GraphCode, config: dict[str, Any], kind: Kind, order: AnyOrder) -> None:
    """Carries out one order on the thread; what it needs of other runs and of routers, activities give.

    Raises:
        StepgraphError: it cannot be honoured; the thread is as it was.
    """
    await orders.carry_out(thread, code, config, kind, order, outside=Outside(_read, _route))


async def _read(asked: ReadRequest) -> Record:
    try:
        answer = await workflow.execute_local_activity(
            READ_CHECKPOINT,
            to_raw(asked),
            result_type=RawValue,
            start_to_close_timeout=timedelta(seconds=60),
            retry_policy=A_FEW_TIMES,
            summary="read a checkpoint",
        )
    except FailureError as error:
        raise _told(error) from error
    return Record.model_validate(from_raw(answer))


async def _route(request: RouteRequest) -> Sequence[str]:
    try:
        answer = await workflow.execute_local_activity(
            ROUTE,
            to_raw(request),
            result_type=RawValue,
            start_to_close_timeout=timedelta(minutes=5),
            retry_policy=ONCE,
            summary=f"routers of {request.task.node}",
        )
    except FailureError as error:
        raise _told(error) from error
    return tuple(from_raw(answer))


def _told(error: FailureError) -> StepgraphError:
    """What a local activity of ours failed with: the SDK hands its failure on bare, or inside an `ActivityError`."""
    cause = error.cause if isinstance(error, ActivityError) else error
    if isinstance(cause, ApplicationError) and cause.details and isinstance(cause.details[0], dict):
        return from_wire(cause.details[0])
    return StepgraphError(f"The update could not be made: {cause}")
