"""Orders: what is asked of a thread from outside, and how each is carried out, wherever the thread runs.

Owns where an order's checkpoint grows from, in whose name it is made, and that it is made whole or not at all. How a
checkpoint of another run is read, and where routers are called, the caller says (`CommandIO`): the workflow does it by
activities, the in-memory runner itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stepgraph.engine.checkpoint import Checkpoint
from stepgraph.engine.constants import END, START
from stepgraph.engine.record import Record, checkpoint_from, outcomes_from
from stepgraph.engine.state_update import ByHand, Update, author_of, is_virtual_author, kept_input
from stepgraph.engine.task_outcomes import TaskOutcomes
from stepgraph.engine.thread import Thread
from stepgraph.errors import StepgraphError
from stepgraph.execution.registry import GraphRegistry
from stepgraph.protocol.commands import (
    CommandKind,
    InvokeCommand,
    ResumeCommand,
    StateUpdate,
    ThreadCommand,
    UpdateCommand,
)
from stepgraph.protocol.opening import ReadRequest
from stepgraph.protocol.task_request import RouteRequest, router_request


@dataclass(frozen=True)
class CommandIO:
    """What an order may need beyond its thread. Both raise a `StepgraphError` where it cannot be had."""

    read_checkpoint: Callable[[ReadRequest], Awaitable[Record]]
    """The record of a checkpoint of another run, or of another thread."""
    ask_routers: Callable[[RouteRequest], Awaitable[Sequence[str]]]
    """Where a node's routers lead after values were written in its name."""


async def apply_command(
    thread: Thread,
    registry: GraphRegistry,
    config: Mapping[str, Any],
    kind: CommandKind,
    command: ThreadCommand,
    *,
    io: CommandIO,
) -> None:
    """Carries out one order on the thread. After an update nothing runs; after the others it may.

    Raises:
        StepgraphError: it cannot be honoured; the thread is as it was.
    """
    if isinstance(command, ResumeCommand):
        if thread.waiting_interrupts or not thread.paused:
            thread.answer(command.resume)
        thread.set_breakpoints(command.interrupt_before, command.interrupt_after)
        thread.reset_steps()
        thread.pass_breakpoint()
    elif isinstance(command, InvokeCommand):
        given = None if command.input is None else registry.schema.check_input(thread.spec.name, command.input)
        if command.checkpoint_id is not None:
            fork = command.model_copy(update={"input": given}).as_fork()
            await _branch(thread, registry, config, "fork", fork, io)
        elif given is not None:
            thread.accept_input(given)
        thread.set_breakpoints(command.interrupt_before, command.interrupt_after)
        thread.limit_steps(command.recursion_limit)
        if given is None:
            thread.pass_breakpoint()
    elif kind == "fork":
        await _branch(thread, registry, config, "fork", command, io)
        thread.reset_steps()
        if command.as_node != START:  # an input meets the breakpoints before the first nodes
            thread.pass_breakpoint()
    else:
        await _branch(thread, registry, config, "update", command, io)


def check_command(thread: Thread, registry: GraphRegistry, kind: CommandKind, command: ThreadCommand) -> None:
    """Refuses an order that cannot be honoured whatever happens before its turn."""
    if isinstance(command, InvokeCommand) and command.input is not None:
        registry.schema.check_input(thread.spec.name, command.input)
    if not isinstance(command, UpdateCommand):
        return
    for each in (each for super_step in command.steps("fork" if kind == "fork" else "update") for each in super_step):
        if each.as_node is not None:
            author_of(thread.spec, thread.head, each.as_node)
        registry.schema.check_input(thread.spec.name, each.values or {})


def check_command_on_closed(thread: Thread, registry: GraphRegistry, kind: CommandKind, command: UpdateCommand) -> None:
    """The same for a thread that has come to rest, before its next run: of that one, the spec will be the code's."""
    target = thread.checkpoint(command.checkpoint_id) if command.checkpoint_id is not None else thread.head
    first = True
    for super_step in command.steps("fork" if kind == "fork" else "update"):
        for each in super_step:
            if first or each.as_node is not None:
                author_of(registry.spec, target, each.as_node)
            registry.schema.check_input(registry.name, each.values or {})
        first = False


async def _branch(
    thread: Thread,
    registry: GraphRegistry,
    config: Mapping[str, Any],
    kind: ByHand,
    command: UpdateCommand,
    io: CommandIO,
) -> None:
    target, kept = await _target(thread, command, io)
    forked_from = command.thread_id if command.thread_id != thread.thread_id else None
    before = thread.savepoint()
    try:
        for super_step in command.steps(kind):
            updates = [await _update(thread, registry, config, target, each, io) for each in super_step]
            target = thread.update(target, updates, source=kind, forked_from=forked_from, kept=kept)
            forked_from, kept = None, None
    except StepgraphError:
        thread.roll_back(before)
        raise


async def _target(
    thread: Thread, command: UpdateCommand, io: CommandIO
) -> tuple[Checkpoint | None, TaskOutcomes | None]:
    """The checkpoint to grow from; read from another run if it is not of this one, with what its tasks left there."""
    if command.checkpoint_id is None:
        return thread.head, None
    if command.thread_id in (None, thread.thread_id):
        for checkpoint in thread.newest_first():
            if checkpoint.id == command.checkpoint_id:
                return checkpoint, None
    asked = ReadRequest(thread_id=command.thread_id or thread.thread_id, checkpoint_id=command.checkpoint_id)
    record = await io.read_checkpoint(asked)
    return checkpoint_from(record, thread.channels), outcomes_from(record)


async def _update(
    thread: Thread,
    registry: GraphRegistry,
    config: Mapping[str, Any],
    target: Checkpoint | None,
    written: StateUpdate,
    io: CommandIO,
) -> Update:
    """An update with its author and where that one's routers lead."""
    author = author_of(thread.spec, target, written.as_node)
    values = registry.schema.check_input(thread.spec.name, written.values or {})
    taken_first = kept_input(thread.channels, target, values) if author == START and written.as_node is None else {}
    if author == END or is_virtual_author(thread.spec, author) or not thread.spec.branches_of(author):
        return Update(author, values, input=taken_first)
    request = router_request(thread, target, author, config)
    goto = await io.ask_routers(RouteRequest(task=request, input=taken_first, writes=values))
    return Update(author, values, tuple(goto), taken_first)
