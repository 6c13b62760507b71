"""Commands made of the arguments that callers pass to a graph's methods.

The client on Temporal and the in-memory runner both read arguments here, so both accept and refuse the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, get_args

from stepgraph.engine.checkpoint import SentTask
from stepgraph.engine.constants import COPY
from stepgraph.engine.spec import Durability
from stepgraph.errors import InvalidInputError, InvalidUpdateError, ThreadError
from stepgraph.protocol.command_parts import destinations_of, mappings_of_pairs
from stepgraph.protocol.commands import InvokeCommand, OnBusy, ResumeCommand, StateUpdate, UpdateCommand
from stepgraph.protocol.config import Breaks, Config, RunConfig, parse_config
from stepgraph.protocol.interrupts import Command
from stepgraph.protocol.method_keywords import Supersteps
from stepgraph.protocol.send import Send
from stepgraph.protocol.unsupported import unsupported
from stepgraph.serde.error_text import type_name, value_text
from stepgraph.serde.plain_json import RoundTripError, as_json

Encode = Callable[[Any], dict[str, Any] | None]
"""Turns a caller's values into JSON data that fits the state; raises `InvalidInputError` if they do not fit."""

EncodeSend = Callable[[Send], SentTask]
"""Turns what a `Send` carries into JSON data; raises `SerializationError` if it would not come back as what it is."""


def invoke_command(
    config: RunConfig,
    input_data: dict[str, Any] | None,
    before: Breaks,
    after: Breaks,
    *,
    on_busy: OnBusy = "refuse",
    durability: Durability | None = None,
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
        durability=_durability(durability),
    )


def resume_command(
    config: RunConfig,
    command: Command,
    before: Breaks,
    after: Breaks,
    encode: Encode,
    encode_send: EncodeSend,
    *,
    types: str,
    durability: Durability | None = None,
) -> ResumeCommand:
    """Return what a `Command` in place of an input asks for: answers, values and further nodes.

    Raises:
        InvalidInputError: the answer is not plain JSON data, or the values do not fit the state.
        InvalidUpdateError: it is for the graph around this one, or leads to something else than nodes.
        SerializationError: what it sends would not come back as what it is.
    """
    if command.graph == Command.PARENT:
        raise InvalidUpdateError("There is no parent graph: leave 'graph' out of the Command.")
    pairs = mappings_of_pairs(command.update)
    updates = [command.update] if pairs is None else pairs
    goto = destinations_of(command.goto)
    for item in goto:
        if not isinstance(item, str | Send):
            raise InvalidUpdateError(f"A Command's goto names nodes, or has Sends; got {type_name(item)}.")
    return ResumeCommand(
        resume=as_plain_json(command.resume, "An answer to an interrupt"),
        update=tuple(data for update in updates if update is not None and (data := encode(update))),
        goto=tuple(item for item in goto if isinstance(item, str)),
        sends=tuple(encode_send(item) for item in goto if isinstance(item, Send)),
        types=types if command.update is not None else "",
        interrupt_before=_node_names(before),
        interrupt_after=_node_names(after),
        config=config.node_config or None,
        durability=_durability(durability),
    )


def check_supported(*, stream_mode: Any = "values", control: Any = None, version: Any = "v1") -> None:
    """Raise `UnsupportedError` for arguments of LangGraph's ``invoke`` that only make sense where it streams."""
    if stream_mode != "values":
        raise unsupported(f"invoke(stream_mode={value_text(stream_mode)})", "stream_mode", "invoke returns the values")
    if control is not None:
        raise unsupported("invoke(control=...)", "control", "Temporal cancels and drains runs")
    if version != "v1":
        raise unsupported(f"invoke(version={value_text(version)})", "version", "invoke returns the values")


def update_command(
    config: RunConfig, values: Any, as_node: str | None, encode: Encode, *, types: str, task_id: str | None = None
) -> UpdateCommand:
    """Return the command for `update_state` or `fork`. ``types``: the hash of the types by which ``encode`` encodes."""
    _check_text("as_node", as_node, "the name of a node, or of a virtual author")
    _check_text("task_id", task_id, "the id of a task, from a snapshot's tasks")
    if as_node == COPY and _is_list(values) and values:
        updates = tuple(_state_update(update, encode) for update in values)
        super_steps = ((StateUpdate(as_node=COPY),), updates)
        return UpdateCommand(super_steps=super_steps, checkpoint_id=config.checkpoint_id, types=types)
    return UpdateCommand(
        values=encode(values), as_node=as_node, task_id=task_id, checkpoint_id=config.checkpoint_id, types=types
    )


def bulk_update_command(config: RunConfig, supersteps: Supersteps, encode: Encode, *, types: str) -> UpdateCommand:
    """Return the command for `bulk_update_state`: super-steps, each with its updates.

    An update is ``(values, as_node)``, or ``(values, as_node, task_id)``.

    Raises:
        InvalidInputError: there is no super-step, or one has no update; or an update is something else.
    """
    if not _is_list(supersteps) or not supersteps or not all(_is_list(each) and each for each in supersteps):
        raise InvalidInputError(
            "bulk_update_state needs at least one super-step, and an update in each: a list of lists of updates."
        )
    super_steps = tuple(tuple(_state_update(update, encode) for update in superstep) for superstep in supersteps)
    return UpdateCommand(super_steps=super_steps, checkpoint_id=config.checkpoint_id, types=types)


def _state_update(update: Any, encode: Encode) -> StateUpdate:
    if not _is_list(update) or len(update) not in (2, 3):
        raise InvalidInputError(
            "An update of bulk_update_state is (values, as_node) or (values, as_node, task_id); "
            f"got {type_name(update)}."
        )
    values, as_node, task_id = (*update, None)[:3]
    _check_text("as_node", as_node, "the name of a node, or of a virtual author")
    _check_text("task_id", task_id, "the id of a task, from a snapshot's tasks")
    return StateUpdate(values=encode(values), as_node=as_node, task_id=task_id)


def checkpoint_before(before: Config | None, config: RunConfig) -> str | None:
    """Return the checkpoint id in a history's ``before`` argument, which need not repeat the thread id.

    Raises:
        ThreadError: ``before`` names no checkpoint.
    """
    if before is None:
        return None
    configurable = before.get("configurable", {}) if isinstance(before, Mapping) else None
    if not isinstance(configurable, Mapping) or configurable.get("checkpoint_id") is None:
        raise ThreadError(
            f"'before' must name a checkpoint: a snapshot's config; got {type_name(before)}.",
            thread_id=config.thread_id,
        )
    return parse_config({"configurable": {"thread_id": config.thread_id, **configurable}}).checkpoint_id


def check_filter(filter: Mapping[str, Any] | None, config: RunConfig) -> dict[str, Any] | None:
    """Return a history's ``filter`` as JSON data.

    Raises:
        ThreadError: it is not a mapping from names of metadata to JSON data.
    """
    if filter is None:
        return None
    if not isinstance(filter, Mapping) or not all(isinstance(key, str) for key in filter):
        raise ThreadError(
            f"'filter' must be metadata, for example {{'source': 'loop'}}; got {type_name(filter)}.",
            thread_id=config.thread_id,
        )
    data: dict[str, Any] = as_plain_json(dict(filter), "A history's 'filter'")
    return data


def check_limit(limit: int | None, config: RunConfig) -> None:
    """Raise `ThreadError` if a history's ``limit`` is no whole number, or is negative."""
    if limit is None:
        return
    if not isinstance(limit, int) or isinstance(limit, bool):
        raise ThreadError(f"limit must be a whole number; got {type_name(limit)}.", thread_id=config.thread_id)
    if limit < 0:
        raise ThreadError(f"limit must be 0 or more; got {limit}.", thread_id=config.thread_id)


def as_plain_json(value: Any, subject: str) -> Any:
    """Return the value as plain JSON data; raise `InvalidInputError` if it is not. ``subject`` begins the message."""
    try:
        return as_json(value)
    except RoundTripError as error:
        raise InvalidInputError(f"{subject} must be plain JSON data: {error}.") from error


def _node_names(breaks: Breaks) -> tuple[str, ...] | None:
    if breaks is None or isinstance(breaks, str):
        return None if breaks is None else (breaks,)
    names = tuple(breaks) if isinstance(breaks, Iterable) else ()
    if not isinstance(breaks, Iterable) or not all(isinstance(name, str) for name in names):
        raise InvalidInputError(
            f"A breakpoint is the name of a node, a list of names, or '*' for all; got {type_name(breaks)}."
        )
    return names


def _durability(value: Any) -> Durability | None:
    if value is not None and value not in get_args(Durability):
        names = ", ".join(map(repr, get_args(Durability)))
        raise InvalidInputError(f"durability must be one of {names}; got {value_text(value)}.")
    durability: Durability | None = value
    return durability


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _check_text(argument: str, value: Any, meaning: str) -> None:
    """Raise `InvalidUpdateError` if an argument is given and is no text."""
    if value is not None and not isinstance(value, str):
        raise InvalidUpdateError(f"{argument!r} must be {meaning}, as a string; got {type_name(value)}.")
