"""Commands: how each one changes a thread, wherever the thread runs.

Owns which checkpoint an update or a fork grows from, in whose name it is made, and that a command is applied completely
or not at all. Does not know how a checkpoint of another run is read or where routers are called: the caller passes both
in as `CommandIO`. The workflow uses local activities for them, the in-memory runner its own memory.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stepgraph.engine.checkpoint import Checkpoint
from stepgraph.engine.constants import END, START
from stepgraph.engine.record import Record, checkpoint_from, outcomes_from
from stepgraph.engine.state_update import Update, UpdateSource, author_of, is_virtual_author, remaining_input
from stepgraph.engine.task_outcomes import TaskOutcomes
from stepgraph.engine.thread import Thread
from stepgraph.engine.thread_view import ThreadView
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
from stepgraph.protocol.task_request import RouteRequest, task_request_for_routers


@dataclass(frozen=True)
class CommandIO:
    """What a command may need from outside its thread. Both functions raise a `StepgraphError` if they fail."""

    read_checkpoint: Callable[[ReadRequest], Awaitable[Record]]
    """Returns the record of a checkpoint of another run, or of another thread."""
    call_routers: Callable[[RouteRequest], Awaitable[Sequence[str]]]
    """Returns the nodes that a node's routers lead to after an update in its name."""


async def apply_command(
    thread: Thread,
    registry: GraphRegistry,
    config: Mapping[str, Any],
    kind: CommandKind,
    command: ThreadCommand,
    *,
    io: CommandIO,
) -> None:
    """Apply one command to the thread. Runs no task; the caller runs those that are due, except after an update.

    Args:
        thread: the thread; idle, or between two super-steps.
        registry: the graph's code.
        config: the part of the caller's config that routers see.
        kind: distinguishes an update from a fork, which have the same class.
        command: what to apply.
        io: reads checkpoints of other runs, and calls routers.

    Raises:
        StepgraphError: the command is refused; the thread is unchanged.
    """
    if isinstance(command, ResumeCommand):
        if thread.waiting_interrupts or not thread.paused:
            thread.answer(command.resume)
        thread.set_breakpoints(command.interrupt_before, command.interrupt_after)
        thread.reset_steps()
        thread.pass_breakpoint()
    elif isinstance(command, InvokeCommand):
        input_data = None if command.input is None else registry.schema.check_input(thread.spec.name, command.input)
        if command.checkpoint_id is not None:
            fork = command.model_copy(update={"input": input_data}).as_fork()
            await _apply_updates(thread, registry, config, "fork", fork, io)
        elif input_data is not None:
            thread.accept_input(input_data)
        thread.set_breakpoints(command.interrupt_before, command.interrupt_after)
        thread.limit_steps(command.recursion_limit)
        if input_data is None:
            thread.pass_breakpoint()
    elif kind == "fork":
        await _apply_updates(thread, registry, config, "fork", command, io)
        thread.reset_steps()
        if command.as_node != START:  # an input stops at the breakpoints before the first nodes
            thread.pass_breakpoint()
    else:
        await _apply_updates(thread, registry, config, "update", command, io)


def check_command(thread: Thread, registry: GraphRegistry, kind: CommandKind, command: ThreadCommand) -> None:
    """Raise a `StepgraphError` if the command will be refused, whatever is applied before it.

    Names and values are checked. What depends on the state at that time is left to `apply_command`.
    """
    if isinstance(command, InvokeCommand) and command.input is not None:
        registry.schema.check_input(thread.spec.name, command.input)
    if not isinstance(command, UpdateCommand):
        return
    super_steps = command.steps("fork" if kind == "fork" else "update")
    for update in (update for super_step in super_steps for update in super_step):
        if update.as_node is not None:
            author_of(thread.spec, thread.head, update.as_node)
        registry.schema.check_input(thread.spec.name, update.values or {})


def check_command_on_closed(
    thread: ThreadView, registry: GraphRegistry, kind: CommandKind, command: UpdateCommand
) -> None:
    """Raise a `StepgraphError` if the next run of a closed thread would refuse the command.

    Names are checked against the spec of the worker's code, because the next run will be started with that one.
    """
    target = thread.checkpoint(command.checkpoint_id) if command.checkpoint_id is not None else thread.head
    is_first = True
    for super_step in command.steps("fork" if kind == "fork" else "update"):
        for update in super_step:
            if is_first or update.as_node is not None:  # the writers of a later super-step's target are not known yet
                author_of(registry.spec, target, update.as_node)
            registry.schema.check_input(registry.name, update.values or {})
        is_first = False


async def _apply_updates(
    thread: Thread,
    registry: GraphRegistry,
    config: Mapping[str, Any],
    kind: UpdateSource,
    command: UpdateCommand,
    io: CommandIO,
) -> None:
    """Make the checkpoints of an update or a fork, one per super-step: all of them, or none if one is refused."""
    target, target_outcomes = await _find_target(thread, command, io)
    forked_from = command.thread_id if command.thread_id != thread.thread_id else None
    savepoint = thread.savepoint()
    try:
        for super_step in command.steps(kind):
            updates = [await _complete_update(thread, registry, config, target, update, io) for update in super_step]
            target = thread.update(
                target, updates, source=kind, forked_from=forked_from, target_outcomes=target_outcomes
            )
            forked_from, target_outcomes = None, None
    except StepgraphError:
        thread.roll_back(savepoint)
        raise


async def _find_target(
    thread: Thread, command: UpdateCommand, io: CommandIO
) -> tuple[Checkpoint | None, TaskOutcomes | None]:
    """Return the checkpoint to grow from; if another run made it, also the outcomes that its tasks have there."""
    if command.checkpoint_id is None:
        return thread.head, None
    if command.thread_id in (None, thread.thread_id):
        for checkpoint in thread.newest_first():
            if checkpoint.id == command.checkpoint_id:
                return checkpoint, None
    request = ReadRequest(thread_id=command.thread_id or thread.thread_id, checkpoint_id=command.checkpoint_id)
    record = await io.read_checkpoint(request)
    return checkpoint_from(record, thread.channels), outcomes_from(record)


async def _complete_update(
    thread: Thread,
    registry: GraphRegistry,
    config: Mapping[str, Any],
    target: Checkpoint | None,
    update: StateUpdate,
    io: CommandIO,
) -> Update:
    """Return an update with its author, checked values, and the nodes that its author's routers lead to."""
    author = author_of(thread.spec, target, update.as_node)
    values = registry.schema.check_input(thread.spec.name, update.values or {})
    remaining = {}
    if author == START and update.as_node is None:  # the update adds to an input that no task has written yet
        remaining = remaining_input(thread.channels, target, values)
    if author == END or is_virtual_author(thread.spec, author) or not thread.spec.branches_of(author):
        return Update(author, values, input=remaining)
    request = task_request_for_routers(thread, target, author, config)
    goto = await io.call_routers(RouteRequest(task=request, input=remaining, writes=values))
    return Update(author, values, tuple(goto), remaining)
