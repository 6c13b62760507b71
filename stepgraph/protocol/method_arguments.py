"""What callers say, as orders: read alike by the client on Temporal and by the runner in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from stepgraph.errors import InvalidInputError, ThreadError
from stepgraph.protocol.commands import InvokeCommand, OnBusy, ResumeCommand, StateUpdate, UpdateCommand
from stepgraph.protocol.config import Breaks, Config, RunConfig, parse_config
from stepgraph.protocol.interrupts import Command
from stepgraph.serde.plain_json import RoundTripError, as_json

Encode = Callable[[Any], dict[str, Any] | None]
"""Turns a caller's values into JSON data that fits the state."""


def invoke_command(
    config: RunConfig, given: dict[str, Any] | None, before: Breaks, after: Breaks, *, on_busy: OnBusy = "refuse"
) -> InvokeCommand:
    """An input as JSON data, or none, with breakpoints."""
    return InvokeCommand(
        input=given,
        on_busy=on_busy,
        checkpoint_id=config.checkpoint_id,
        recursion_limit=config.recursion_limit,
        config=config.passed_on,
        interrupt_before=_names(before),
        interrupt_after=_names(after),
    )


def resume_command(command: Command, before: Breaks, after: Breaks) -> ResumeCommand:
    """An answer, with breakpoints; `InvalidInputError` for one that is no JSON."""
    answer = as_plain_json(command.resume, "An answer to an interrupt")
    return ResumeCommand(resume=answer, interrupt_before=_names(before), interrupt_after=_names(after))


def update_command(config: RunConfig, values: Any, as_node: str | None, encode: Encode) -> UpdateCommand:
    """An update, or a fork."""
    return UpdateCommand(values=encode(values), as_node=as_node, checkpoint_id=config.checkpoint_id)


def bulk_update_command(
    config: RunConfig, supersteps: Sequence[Sequence[tuple[Any, str | None]]], encode: Encode
) -> UpdateCommand:
    """Several updates at once; `InvalidInputError` where there is none."""
    made = tuple(
        tuple(StateUpdate(values=encode(each[0]), as_node=each[1]) for each in superstep) for superstep in supersteps
    )
    if not made or not all(made):
        raise InvalidInputError("bulk_update_state needs at least one super-step, and an update in each.")
    return UpdateCommand(super_steps=made, checkpoint_id=config.checkpoint_id)


def checkpoint_before(before: Config | None, of: RunConfig) -> str | None:
    """The checkpoint that ``before`` of a history names; `ThreadError` if it names none."""
    if before is None:
        return None
    named = parse_config({"configurable": {"thread_id": of.thread_id, **dict(before.get("configurable", {}))}})
    if named.checkpoint_id is None:
        raise ThreadError("'before' must name a checkpoint: a snapshot's config.", thread_id=of.thread_id)
    return named.checkpoint_id


def check_limit(limit: int | None, of: RunConfig) -> None:
    """`ThreadError` for a history's limit that makes no sense."""
    if limit is not None and limit < 0:
        raise ThreadError(f"limit must be 0 or more; got {limit}.", thread_id=of.thread_id)


def as_plain_json(value: Any, what: str) -> Any:
    """The value, if it is JSON as it is; `InvalidInputError` otherwise."""
    try:
        return as_json(value)
    except RoundTripError as error:
        raise InvalidInputError(f"{what} must be plain JSON data: {error}.") from error


def _names(breaks: Breaks) -> tuple[str, ...] | None:
    return (breaks,) if isinstance(breaks, str) else None if breaks is None else tuple(breaks)
