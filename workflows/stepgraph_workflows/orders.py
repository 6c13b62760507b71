"""Updates and forks that arrive while a run is open: queued, and carried out one after the other at a boundary."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, FailureError

from stepgraph.code import GraphCode
from stepgraph.constants import END
from stepgraph.engine.branching import ByHand, Update, author_of, is_virtual_author
from stepgraph.engine.checkpoint import Checkpoint
from stepgraph.engine.record import Record, checkpoint_from
from stepgraph.engine.thread import Thread
from stepgraph.errors import StepgraphError, from_wire
from stepgraph.nodes import RouteRequest, TaskRequest
from stepgraph.payloads import from_raw, to_raw
from stepgraph.snapshot import config_for
from stepgraph.wire import READ_CHECKPOINT, ROUTE, InvokeOrder, Order, ReadRequest, ResumeOrder, WrittenUpdate

Kind = Literal["update", "fork", "resume", "invoke"]
AnyOrder = Order | ResumeOrder | InvokeOrder

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
                pending.config = config_for(thread.thread_id, thread.head.id if thread.head else None)
            except StepgraphError as error:
                pending.error = error
                if pending.heard is not None:
                    pending.heard(error)
            pending.done = True
            finished.append(pending)
        return finished


async def apply(thread: Thread, code: GraphCode, config: dict[str, Any], kind: Kind, order: AnyOrder) -> None:
    """Carries out one order on the thread.

    Raises:
        StepgraphError: it cannot be honoured; the thread is as it was.
    """
    if isinstance(order, ResumeOrder):
        thread.answer(order.resume)
        thread.renew()
    elif isinstance(order, InvokeOrder):
        thread.break_at(order.interrupt_before, order.interrupt_after)
        thread.allow(order.recursion_limit)
        if order.input is None:
            thread.pass_on()
        else:
            thread.accept(code.schema.check_input(thread.spec.name, order.input))
    else:
        await _branch(thread, code, config, "fork" if kind == "fork" else "update", order)


async def _branch(thread: Thread, code: GraphCode, config: dict[str, Any], kind: ByHand, order: Order) -> None:
    target = await _target(thread, order)
    forked_from = order.thread_id if order.thread_id != thread.thread_id else None
    before = thread.mark()
    try:
        for super_step in order.steps(kind):
            updates = [await _update(thread, code, config, target, each) for each in super_step]
            target = thread.update(target, updates, source=kind, forked_from=forked_from)
            forked_from = None
    except StepgraphError:
        thread.back_to(before)
        raise


def check_order(thread: Thread, code: GraphCode, kind: Kind, order: AnyOrder) -> None:
    """Refuses an order that cannot be honoured whatever happens before its turn."""
    if isinstance(order, InvokeOrder) and order.input is not None:
        code.schema.check_input(thread.spec.name, order.input)
    if not isinstance(order, Order):
        return
    for each in (each for super_step in order.steps("fork" if kind == "fork" else "update") for each in super_step):
        if each.as_node is not None:
            author_of(thread.spec, thread.head, each.as_node)
        code.schema.check_input(thread.spec.name, each.values or {})


async def _target(thread: Thread, order: Order) -> Checkpoint | None:
    """The checkpoint to grow from, fetched from another run if it is not of this one."""
    if order.checkpoint_id is None:
        return thread.head
    if order.thread_id in (None, thread.thread_id):
        for checkpoint in thread.newest_first():
            if checkpoint.id == order.checkpoint_id:
                return checkpoint
    asked = ReadRequest(thread_id=order.thread_id or thread.thread_id, checkpoint_id=order.checkpoint_id)
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
    return checkpoint_from(Record.model_validate(from_raw(answer)), thread.channels)


async def _update(
    thread: Thread, code: GraphCode, config: dict[str, Any], target: Checkpoint | None, written: WrittenUpdate
) -> Update:
    """An update with its author and where that one's routers lead."""
    author = author_of(thread.spec, target, written.as_node)
    values = code.schema.check_input(thread.spec.name, written.values or {})
    if author == END or is_virtual_author(thread.spec, author) or not thread.spec.branches_of(author):
        return Update(author, values)
    state = thread.channels.encode(target.values) if target else {}
    request = TaskRequest(
        graph=thread.spec.name,
        node=author,
        step=target.step + 1 if target else 0,
        thread_id=thread.thread_id,
        run_id=thread.run_id,
        checkpoint_id=target.id if target else "",
        task_id=author,
        spec_hash=thread.spec.hash,
        state=state,
        routers=tuple(each.name for each in thread.spec.branches_of(author)),
        config=config,
    )
    try:
        answer = await workflow.execute_local_activity(
            ROUTE,
            to_raw(RouteRequest(task=request, writes=values)),
            result_type=RawValue,
            start_to_close_timeout=timedelta(minutes=5),
            retry_policy=ONCE,
            summary=f"routers of {author}",
        )
    except FailureError as error:
        raise _told(error) from error
    return Update(author, values, tuple(from_raw(answer)))


def _told(error: FailureError) -> StepgraphError:
    """What a local activity of ours failed with: the SDK hands its failure on bare, or inside an `ActivityError`."""
    cause = error.cause if isinstance(error, ActivityError) else error
    if isinstance(cause, ApplicationError) and cause.details and isinstance(cause.details[0], dict):
        return from_wire(cause.details[0])
    return StepgraphError(f"The update could not be made: {cause}")
