"""Orders: what is asked of a thread from outside, and how each is carried out, wherever the thread runs.

Owns where an order's checkpoint grows from, in whose name it is made, and that it is made whole or not at all. How a
checkpoint of another run is read, and where routers are called, the caller says (`Outside`): the workflow does it by
activities, the in-memory runner itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from stepgraph.engine.checkpoint import Checkpoint
from stepgraph.engine.constants import END, START
from stepgraph.engine.record import Record, checkpoint_from, outcomes_from
from stepgraph.engine.state_update import ByHand, Update, author_of, is_virtual_author, kept_input
from stepgraph.engine.task_outcomes import Outcomes
from stepgraph.engine.thread import Thread
from stepgraph.errors import StepgraphError
from stepgraph.execution.registry import GraphCode
from stepgraph.execution.run_node import RouteRequest, TaskRequest
from stepgraph.protocol.wire import InvokeOrder, Order, ReadRequest, ResumeOrder, WrittenUpdate

Kind = Literal["update", "fork", "resume", "invoke"]
AnyOrder = Order | ResumeOrder | InvokeOrder


@dataclass(frozen=True)
class Outside:
    """What an order may need beyond its thread. Both raise a `StepgraphError` where it cannot be had."""

    read: Callable[[ReadRequest], Awaitable[Record]]
    """The record of a checkpoint of another run, or of another thread."""
    route: Callable[[RouteRequest], Awaitable[Sequence[str]]]
    """Where a node's routers lead after values were written in its name."""


async def carry_out(
    thread: Thread, code: GraphCode, config: Mapping[str, Any], kind: Kind, order: AnyOrder, *, outside: Outside
) -> None:
    """Carries out one order on the thread. After an update nothing runs; after the others it may.

    Raises:
        StepgraphError: it cannot be honoured; the thread is as it was.
    """
    if isinstance(order, ResumeOrder):
        if thread.questions or not thread.paused:
            thread.answer(order.resume)
        thread.break_at(order.interrupt_before, order.interrupt_after)
        thread.renew()
        thread.pass_on()
    elif isinstance(order, InvokeOrder):
        given = None if order.input is None else code.schema.check_input(thread.spec.name, order.input)
        if order.checkpoint_id is not None:
            author = None if given is None else START
            again = Order(values=given, as_node=author, checkpoint_id=order.checkpoint_id)
            await _branch(thread, code, config, "fork", again, outside)
        elif given is not None:
            thread.accept(given)
        thread.break_at(order.interrupt_before, order.interrupt_after)
        thread.allow(order.recursion_limit)
        if given is None:
            thread.pass_on()
    elif kind == "fork":
        await _branch(thread, code, config, "fork", order, outside)
        thread.renew()
        if order.as_node != START:  # an input meets the breakpoints before the first nodes
            thread.pass_on()
    else:
        await _branch(thread, code, config, "update", order, outside)


def check(thread: Thread, code: GraphCode, kind: Kind, order: AnyOrder) -> None:
    """Refuses an order that cannot be honoured whatever happens before its turn."""
    if isinstance(order, InvokeOrder) and order.input is not None:
        code.schema.check_input(thread.spec.name, order.input)
    if not isinstance(order, Order):
        return
    for each in (each for super_step in order.steps("fork" if kind == "fork" else "update") for each in super_step):
        if each.as_node is not None:
            author_of(thread.spec, thread.head, each.as_node)
        code.schema.check_input(thread.spec.name, each.values or {})


def check_closed(thread: Thread, code: GraphCode, kind: Kind, order: Order) -> None:
    """The same for a thread that has come to rest, before its next run: of that one, the spec will be the code's."""
    target = thread.checkpoint(order.checkpoint_id) if order.checkpoint_id is not None else thread.head
    first = True
    for super_step in order.steps("fork" if kind == "fork" else "update"):
        for each in super_step:
            if first or each.as_node is not None:
                author_of(code.spec, target, each.as_node)
            code.schema.check_input(code.name, each.values or {})
        first = False


async def _branch(
    thread: Thread, code: GraphCode, config: Mapping[str, Any], kind: ByHand, order: Order, outside: Outside
) -> None:
    target, kept = await _target(thread, order, outside)
    forked_from = order.thread_id if order.thread_id != thread.thread_id else None
    before = thread.mark()
    try:
        for super_step in order.steps(kind):
            updates = [await _update(thread, code, config, target, each, outside) for each in super_step]
            target = thread.update(target, updates, source=kind, forked_from=forked_from, kept=kept)
            forked_from, kept = None, None
    except StepgraphError:
        thread.back_to(before)
        raise


async def _target(thread: Thread, order: Order, outside: Outside) -> tuple[Checkpoint | None, Outcomes | None]:
    """The checkpoint to grow from; read from another run if it is not of this one, with what its tasks left there."""
    if order.checkpoint_id is None:
        return thread.head, None
    if order.thread_id in (None, thread.thread_id):
        for checkpoint in thread.newest_first():
            if checkpoint.id == order.checkpoint_id:
                return checkpoint, None
    asked = ReadRequest(thread_id=order.thread_id or thread.thread_id, checkpoint_id=order.checkpoint_id)
    record = await outside.read(asked)
    return checkpoint_from(record, thread.channels), outcomes_from(record)


async def _update(
    thread: Thread,
    code: GraphCode,
    config: Mapping[str, Any],
    target: Checkpoint | None,
    written: WrittenUpdate,
    outside: Outside,
) -> Update:
    """An update with its author and where that one's routers lead."""
    author = author_of(thread.spec, target, written.as_node)
    values = code.schema.check_input(thread.spec.name, written.values or {})
    taken_first = kept_input(thread.channels, target, values) if author == START and written.as_node is None else {}
    if author == END or is_virtual_author(thread.spec, author) or not thread.spec.branches_of(author):
        return Update(author, values, input=taken_first)
    request = TaskRequest(
        graph=thread.spec.name,
        node=author,
        step=target.step + 1 if target else 0,
        thread_id=thread.thread_id,
        run_id=thread.run_id,
        checkpoint_id=target.id if target else "",
        task_id=author,
        spec_hash=thread.spec.hash,
        state=thread.channels.encode(target.values) if target else {},
        routers=tuple(each.name for each in thread.spec.branches_of(author)),
        config=dict(config),
    )
    goto = await outside.route(RouteRequest(task=request, input=taken_first, writes=values))
    return Update(author, values, tuple(goto), taken_first)
