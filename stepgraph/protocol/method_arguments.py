"""Commands made of the arguments that callers pass to a graph's methods.

The client on Temporal and the in-memory runner both read arguments here, so both accept and refuse the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stepgraph.errors import InvalidInputError, ThreadError
from stepgraph.protocol.commands import InvokeCommand, OnBusy, ResumeCommand, StateUpdate, UpdateCommand
from stepgraph.protocol.config import Breaks, Config, RunConfig, parse_config
from stepgraph.protocol.interrupts import Command
from stepgraph.protocol.method_keywords import Supersteps
from stepgraph.serde.plain_json import RoundTripError, as_json

Encode = Callable[[Any], dict[str, Any] | None]
"""Turns a caller's values into JSON data that fits the state; raises `InvalidInputError` if they do not fit."""


def invoke_command(
    config: RunConfig, input_data: dict[str, Any] | None, before: Breaks, after: Breaks, *, on_busy: OnBusy = "refuse"
) -> InvokeCommand:
    """Return the command for `invoke`. The input is JSON data already; `None` continues or replays the thread."""
    return InvokeCommand(
        input=input_data,
        on_busy=on_busy,
        checkpoint_id=config.checkpoint_id,
        recursion_limit=config.recursion_limit,
        config=config.node_config,
        interrupt_before=_node_names(before),
        interrupt_after=_node_names(after),
    )


def resume_command(command: Command, before: Breaks, after: Breaks) -> ResumeCommand:
    """Return the command that answers interrupts; raise `InvalidInputError` if the answer is not plain JSON data."""
    answer = as_plain_json(command.resume, "An answer to an interrupt")
    return ResumeCommand(resume=answer, interrupt_before=_node_names(before), interrupt_after=_node_names(after))


def update_command(
    config: RunConfig, values: Any, as_node: str | None, encode: Encode, *, types: str, task_id: str | None = None
) -> UpdateCommand:
    """Return the command for `update_state` or `fork`.

    Args:
        config, values, as_node, task_id: the method's arguments.
        encode: turns the values into JSON data.
        types: the hash of the types by which ``encode`` encodes.

    Raises:
        InvalidInputError: ``as_node`` or ``task_id`` is no text.
    """
    update = _state_update(values, as_node, task_id, encode)
    return UpdateCommand(
        values=update.values,
        as_node=update.as_node,
        task_id=update.task_id,
        checkpoint_id=config.checkpoint_id,
        types=types,
    )


def bulk_update_command(config: RunConfig, supersteps: Supersteps, encode: Encode, *, types: str) -> UpdateCommand:
    """Return the command for `bulk_update_state`: super-steps, each with its updates.

    An update is ``(values, as_node)``, or ``(values, as_node, task_id)``.

    Raises:
        InvalidInputError: there is no super-step, or one has no update; or an update is something else.
    """
    if not _is_list(supersteps) or not supersteps or not all(_is_list(each) and each for each in supersteps):
        raise InvalidInputError(
            "bulk_update_state needs at least one super-step, and an update in each: [[(values, as_node)], ...]."
        )
    for update in (update for superstep in supersteps for update in superstep):
        if not _is_list(update) or len(update) not in (2, 3):
            raise InvalidInputError(
                f"An update is (values, as_node), or (values, as_node, task_id); got {update!r:.100}."
            )
    super_steps = tuple(
        tuple(_state_update(update[0], update[1], (*update, None)[2], encode) for update in superstep)
        for superstep in supersteps
    )
    return UpdateCommand(super_steps=super_steps, checkpoint_id=config.checkpoint_id, types=types)


def _state_update(values: Any, as_node: Any, task_id: Any, encode: Encode) -> StateUpdate:
    for name, value in (("as_node", as_node), ("task_id", task_id)):
        if value is not None and not isinstance(value, str):
            raise InvalidInputError(f"An update's {name} must be a text; got {value!r:.100}.")
    return StateUpdate(values=encode(values), as_node=as_node, task_id=task_id)


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def checkpoint_before(before: Config | None, config: RunConfig) -> str | None:
    """Return the checkpoint id in a history's ``before`` argument, which need not repeat the thread id.

    Raises:
        ThreadError: ``before`` names no checkpoint.
    """
    if before is None:
        return None
    parsed = parse_config({"configurable": {"thread_id": config.thread_id, **dict(before.get("configurable", {}))}})
    if parsed.checkpoint_id is None:
        raise ThreadError("'before' must name a checkpoint: a snapshot's config.", thread_id=config.thread_id)
    return parsed.checkpoint_id


def check_limit(limit: int | None, config: RunConfig) -> None:
    """Raise `ThreadError` if a history's ``limit`` is negative."""
    if limit is not None and limit < 0:
        raise ThreadError(f"limit must be 0 or more; got {limit}.", thread_id=config.thread_id)


def as_plain_json(value: Any, subject: str) -> Any:
    """Return the value as plain JSON data; raise `InvalidInputError` if it is not. ``subject`` begins the message."""
    try:
        return as_json(value)
    except RoundTripError as error:
        raise InvalidInputError(f"{subject} must be plain JSON data: {error}.") from error


def _node_names(breaks: Breaks) -> tuple[str, ...] | None:
    return (breaks,) if isinstance(breaks, str) else None if breaks is None else tuple(breaks)
