"""Commands: how each one changes a thread, wherever the thread runs.

Owns which checkpoint an update or a fork grows from, in whose name it is made, when the graph's code has to complete
it, and that a command is applied completely or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from stepgraph.drive.check_values import check_answer, check_config, check_values
from stepgraph.drive.thread_io import ThreadIO, apply_unfolded, apply_writes_request
from stepgraph.engine.checkpoint import Checkpoint, TaskResult
from stepgraph.engine.commit import values_before
from stepgraph.engine.constants import COPY, END, INPUT, START
from stepgraph.engine.record import checkpoint_from, outcomes_from
from stepgraph.engine.spec import GraphSpec
from stepgraph.engine.state_update import (
    NO_CHECKPOINT,
    PlannedUpdate,
    Update,
    UpdateSource,
    author_of,
    is_virtual_author,
    remaining_input,
    unfolded_by,
)
from stepgraph.engine.task_outcomes import TaskOutcomes
from stepgraph.engine.thread import Thread
from stepgraph.engine.thread_view import ThreadView
from stepgraph.errors import InvalidUpdateError, suggest
from stepgraph.protocol.apply_writes_request import AuthorWrites
from stepgraph.protocol.commands import (
    CommandKind,
    InvokeCommand,
    ResumeCommand,
    StateUpdate,
    ThreadCommand,
    UpdateCommand,
)
from stepgraph.protocol.opening import ReadRequest
from stepgraph.protocol.thread_errors import nothing_to_resume
from stepgraph.serde.plain_json import json_size
from stepgraph.serde.sizes import check_size, size_limit


async def apply_command(
    thread: Thread, config: Mapping[str, Any], kind: CommandKind, command: ThreadCommand, *, io: ThreadIO
) -> None:
    """Apply one command to the thread. Runs no task; the caller runs those that are due, except after an update.

    Args:
        thread: the thread; idle, or between two super-steps.
        config: the part of the caller's config that routers see.
        kind: distinguishes an update from a fork, which have the same class.
        command: what to apply.
        io: reaches checkpoints of other runs, and the graph's code.

    Raises:
        StepgraphError: the command is refused; the thread is unchanged.
    """
    if isinstance(command, ResumeCommand):
        await _resume(thread, config, command, io)
        thread.set_breakpoints(command.interrupt_before, command.interrupt_after)
        thread.durability = command.durability or thread.durability
        thread.reset_steps()
        thread.pass_breakpoint()
    elif isinstance(command, InvokeCommand):
        check_config(command.config)
        if command.checkpoint_id is not None:
            await _apply_updates(thread, config, "fork", command.as_fork(), io)
        elif command.input is not None:
            await accept_input(thread, config, command.input, types=command.types, io=io)
        thread.set_breakpoints(command.interrupt_before, command.interrupt_after)
        thread.durability = command.durability
        thread.limit_steps(command.recursion_limit)
        if command.input is None:
            thread.pass_breakpoint()
    elif kind == "fork":
        await _apply_updates(thread, config, "fork", command, io)
        thread.reset_steps()
        if command.as_node != START:  # an input stops at the breakpoints before the first nodes
            thread.pass_breakpoint()
    else:
        await _apply_updates(thread, config, "update", command, io)


async def accept_input(
    thread: Thread,
    config: Mapping[str, Any],
    input_data: Any,
    *,
    types: str,
    io: ThreadIO,
    parent: Checkpoint | None = None,
) -> Checkpoint:
    """Make a checkpoint from an input, coerced to the declared types unless the caller has done so.

    Args:
        thread: the thread.
        config: the part of the caller's config that nodes see.
        input_data: the input, as JSON data.
        types: the hash of the types under which it was encoded; see `UpdateCommand.types`.
        io: reaches the graph's code.
        parent: the checkpoint that it follows; the head by default.

    Raises:
        InvalidInputError: the input does not fit the state; the thread is unchanged.
    """
    input_data = thread.spec.input_of(_check(thread, input_data, types))
    stamps: Mapping[str, str] = {}
    if types != thread.spec.types_hash and input_data:
        result = TaskResult(writes=(input_data,))
        author = AuthorWrites(key=START, node=START, result=result, coerce=True, exact=bool(types))
        request = apply_writes_request(thread, thread.head or NO_CHECKPOINT, {}, [author], config)
        applied = (await io.apply_writes(thread, request)).to_applied()
        input_data, stamps = applied.results[START].writes[0], applied.results[START].stamps
    return thread.accept_input(input_data, stamps, parent=parent)


def check_command(thread: ThreadView, kind: CommandKind, command: ThreadCommand) -> None:
    """Raise a `StepgraphError` if the command will be refused, whatever is applied before it.

    The spec's names, and the size and depth of values, are checked. What depends on the state at that time is left to
    `apply_command`, and types to the graph's code.
    """
    if isinstance(command, ResumeCommand):
        check_answer(thread.thread_id, command.resume)
        check_config(command.config or {})
        _check_leads(thread, command)
    if isinstance(command, InvokeCommand):
        check_config(command.config)
        if command.input is not None:
            _check(thread, command.input, command.types)
    if not isinstance(command, UpdateCommand):
        return
    for update in (update for super_step in command.steps(_source(kind)) for update in super_step):
        if update.as_node is not None:
            author_of(thread.spec, thread.head, update.as_node)
        _check_given(thread, update.values, command.types)


def check_command_on_closed(thread: ThreadView, spec: GraphSpec, kind: CommandKind, command: UpdateCommand) -> None:
    """Raise a `StepgraphError` if the next run of a closed thread would refuse the command.

    Names are checked against ``spec``, that of the worker's code, because the next run will be started with that one.
    """
    target = thread.checkpoint(command.checkpoint_id) if command.checkpoint_id is not None else thread.head
    is_first = True
    for super_step in command.steps(_source(kind)):
        for update in super_step:
            if is_first or update.as_node is not None:  # the writers of a later super-step's target are not known yet
                author_of(spec, target, update.as_node)
            if update.values is not None:
                check_values(spec, update.values, uses_external_storage=thread.uses_external_storage)
        is_first = False


def _check(thread: ThreadView, values: Any, types: str) -> dict[str, Any]:
    return check_values(thread.spec, values, types=types, uses_external_storage=thread.uses_external_storage)


def _check_given(thread: ThreadView, values: Any, types: str) -> dict[str, Any]:
    """Return the values of an update after a check; none if it has none."""
    return {} if values is None else _check(thread, values, types)


def _source(kind: CommandKind) -> UpdateSource:
    return "fork" if kind == "fork" else "update"


def _check_leads(thread: ThreadView, command: ResumeCommand) -> None:
    """Check the values that a resume writes, and the nodes to which it leads."""
    spec = thread.spec
    for values in command.update:
        _check(thread, values, command.types)
    for name in (*command.goto, *(send.node for send in command.sends)):
        if not spec.has_node(name) and not (name == END and name in command.goto):
            raise InvalidUpdateError(
                f"The Command leads to {name!r}, which is not a node of graph {spec.name!r}."
                f"{suggest(name, spec.node_names)}",
                nodes=[name],
            )
    limit = size_limit(uses_external_storage=thread.uses_external_storage)
    check_size("The Command", {f"Send to {send.node}": json_size(send.input) for send in command.sends}, limit=limit)


async def _resume(thread: Thread, config: Mapping[str, Any], command: ResumeCommand, io: ThreadIO) -> None:
    """Write what the command writes and plan what it leads to, as a checkpoint of its own; then answer interrupts."""
    check_answer(thread.thread_id, command.resume)
    check_config(command.config or {})
    savepoint = thread.savepoint()
    try:
        if command.leads:
            _check_leads(thread, command)
            if thread.head is None:
                raise nothing_to_resume(thread.thread_id)
            result = TaskResult(writes=command.update, goto=command.goto, sends=command.sends)
            updates = await _completed(thread, config, thread.head, [Update(INPUT, result)], command.types, io)
            await _make_checkpoint(thread, config, thread.plan_update(thread.head, updates), "update", io)
        if command.answers and (thread.waiting_interrupts or not thread.paused):
            thread.answer(command.resume)
    except BaseException:  # also when the run is cancelled meanwhile
        thread.roll_back(savepoint)
        raise


async def _make_checkpoint(
    thread: Thread,
    config: Mapping[str, Any],
    planned: PlannedUpdate,
    source: UpdateSource,
    io: ThreadIO,
    *,
    forked_from: str | None = None,
) -> Checkpoint:
    """Have the graph's code fold where only it can, and make the checkpoint of updates. Return the head."""
    applied = await apply_unfolded(thread, planned.target, unfolded_by(thread.spec, planned), config, io)
    return thread.update(planned, applied, source=source, forked_from=forked_from)


async def _apply_updates(
    thread: Thread, config: Mapping[str, Any], kind: UpdateSource, command: UpdateCommand, io: ThreadIO
) -> None:
    """Make the checkpoints of an update or a fork, one per super-step: all of them, or none if one is refused."""
    target, target_outcomes = await _find_target(thread, command, io)
    forked_from = command.thread_id if command.thread_id != thread.thread_id else None
    savepoint = thread.savepoint()
    try:
        for super_step in command.steps(kind):
            if any(update.as_node in (INPUT, COPY) for update in super_step):
                (update,) = _alone(super_step)
                target = await _copy_or_input(thread, config, target, update, command.types, io)
            else:
                updates = [_update(thread, target, update, command.types) for update in super_step]
                updates = await _completed(thread, config, target, updates, command.types, io)
                planned = thread.plan_update(target, updates, target_outcomes)
                target = await _make_checkpoint(thread, config, planned, kind, io, forked_from=forked_from)
            forked_from, target_outcomes = None, None
    except BaseException:  # also when the run is cancelled meanwhile
        thread.roll_back(savepoint)
        raise


def _alone(super_step: Sequence[StateUpdate]) -> Sequence[StateUpdate]:
    if len(super_step) > 1:
        raise InvalidUpdateError(f"An update as {INPUT!r} or {COPY!r} is the only one of its super-step.")
    return super_step


async def _copy_or_input(
    thread: Thread, config: Mapping[str, Any], target: Checkpoint | None, update: StateUpdate, types: str, io: ThreadIO
) -> Checkpoint:
    """Copy a checkpoint, or make one from an input that is not run yet. Return the head."""
    if update.as_node == INPUT:
        if update.values is None:
            raise InvalidUpdateError(f"An update as {INPUT!r} has values: the input.")
        return await accept_input(thread, config, update.values, types=types, io=io, parent=target)
    if target is None:
        raise InvalidUpdateError(f"Thread {thread.thread_id!r} has no checkpoint to copy.")
    if update.values is not None:
        raise InvalidUpdateError(
            f"A copy has the checkpoint's values: an update as {COPY!r} has None, or a list of updates."
        )
    planned = replace(thread.plan_update(target, []), copies=True)
    return thread.update(planned, source="fork", forked_from=target.forked_from)


async def _find_target(
    thread: Thread, command: UpdateCommand, io: ThreadIO
) -> tuple[Checkpoint | None, TaskOutcomes | None]:
    """Return the checkpoint to grow from; if another run made it, also the outcomes that its tasks have there."""
    if command.checkpoint_id is None:
        return thread.head, None
    checkpoint = thread.find(command.checkpoint_id) if command.thread_id in (None, thread.thread_id) else None
    if checkpoint is not None:
        return checkpoint, None
    request = ReadRequest(thread_id=command.thread_id or thread.thread_id, checkpoint_id=command.checkpoint_id)
    record = await io.read_checkpoint(request)
    return checkpoint_from(record), outcomes_from(record)


def _update(thread: Thread, target: Checkpoint | None, update: StateUpdate, types: str) -> Update:
    """Return an update with its author and everything that it writes."""
    author = author_of(thread.spec, target, update.as_node)
    values = _check_given(thread, update.values, types)
    if update.as_node == START:  # an input at an earlier checkpoint
        values = thread.spec.input_of(values)
    remaining: dict[str, Any] = {}
    if author == START and update.as_node is None:  # the update adds to an input that no task has written yet
        remaining = remaining_input(thread.spec, target, values)
    return Update(author, TaskResult(writes=tuple(each for each in (remaining, values) if each)), update.task_id)


async def _completed(
    thread: Thread,
    config: Mapping[str, Any],
    target: Checkpoint | None,
    updates: Sequence[Update],
    types: str,
    io: ThreadIO,
) -> list[Update]:
    """Return the updates of a super-step: coerced, folded and routed by the graph's code where the spec asks for it."""
    authors = [
        AuthorWrites(
            key=str(number),
            node=update.author,
            result=update.result,
            coerce=types != thread.spec.types_hash and bool(update.result.writes),
            exact=types not in ("", thread.spec.types_hash),
            complete=True,
            route=_has_routers(thread.spec, update.author),
        )
        for number, update in enumerate(updates)
    ]
    if not any(author.coerce or author.route or _writes_custom(thread.spec, author.result) for author in authors):
        return list(updates)
    checkpoint = target or NO_CHECKPOINT
    values = values_before(thread.spec, checkpoint)
    request = apply_writes_request(thread, checkpoint, values, authors, config)
    applied = (await io.apply_writes(thread, request)).to_applied()
    return [replace(update, result=applied.results[str(number)]) for number, update in enumerate(updates)]


def _has_routers(spec: GraphSpec, author: str) -> bool:
    return author != END and not is_virtual_author(spec, author) and bool(spec.branches_of(author))


def _writes_custom(spec: GraphSpec, result: TaskResult) -> bool:
    return any(name in result.channels for name in spec.custom_channels)
