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
    """Return the command for `update_state` or `fork`. ``types``: the hash of the types by which ``encode`` encodes."""
    return UpdateCommand(
        values=encode(values), as_node=as_node, task_id=task_id, checkpoint_id=config.checkpoint_id, types=types
    )


def bulk_update_command(config: RunConfig, supersteps: Supersteps, encode: Encode, *, types: str) -> UpdateCommand:
    """Return the command for `bulk_update_state`: super-steps, each with its updates.

    An update is ``(values, as_node)``, or ``(values, as_node, task_id)``.

    Raises:
        InvalidInputError: there is no super-step, or one has no update.
    """
    super_steps = tuple(
        tuple(
            StateUpdate(values=encode(update[0]), as_node=update[1], task_id=update[2] if len(update) > 2 else None)
            for update in superstep
        )
        for superstep in supersteps
    )
    if not super_steps or not all(super_steps):
        raise InvalidInputError("bulk_update_state needs at least one super-step, and an update in each.")
    return UpdateCommand(super_steps=super_steps, checkpoint_id=config.checkpoint_id, types=types)


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
