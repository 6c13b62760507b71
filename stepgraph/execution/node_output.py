"""What a node may return, and how it becomes a task's writes as JSON data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stepgraph.engine.checkpoint import SentTask
from stepgraph.engine.constants import END
from stepgraph.errors import InvalidUpdateError, suggest
from stepgraph.execution.state_schema import StateSchema
from stepgraph.execution.task_code import TaskOutput
from stepgraph.protocol.command_parts import destinations_of, mappings_of_pairs
from stepgraph.protocol.interrupts import Command
from stepgraph.protocol.langgraph_objects import from_langgraph
from stepgraph.protocol.send import Send
from stepgraph.serde.error_text import type_name
from stepgraph.serde.plain_json import json_size
from stepgraph.serde.sizes import MAX_DEPTH, check_size, is_too_deep


def output_of(schema: StateSchema, nodes: Sequence[str], node: str, returned: Any) -> TaskOutput:
    """Return what a node returned, in parts: of one mapping, `Command` or `Send`, or of several in a list.

    Raises:
        InvalidUpdateError: the node returned something else, or a command names an unknown node.
    """
    writes: list[Mapping[str, Any]] = []
    goto: list[str] = []
    sends: list[Send] = []
    for item in returned if _is_several(schema, returned) else [returned]:
        item = from_langgraph(item)
        if isinstance(item, Command):
            _refuse_parent(node, item)
            writes += _command_updates(schema, node, item.update)
            names, sent = _destinations_in(f"A Command of node {node!r}", node, item.goto, nodes)
            goto += names
            sends += sent
        elif isinstance(item, Send):
            sends.append(item)
        elif item is not None:
            writes.append(_as_update(schema, node, item, "returned"))
    return TaskOutput(tuple(writes), tuple(goto), tuple(sends))


def _is_several(schema: StateSchema, returned: Any) -> bool:
    """Return whether a node returned a list of outputs. A list may also be the value of a state of one value."""
    if not isinstance(returned, list | tuple):
        return False
    return not schema.is_root or any(isinstance(from_langgraph(item), Command | Send) for item in returned)


def _destinations_in(what: str, node: str, goto: Any, nodes: Sequence[str]) -> tuple[list[str], list[Send]]:
    """Return the nodes and the `Send`s that a ``goto`` names: one, or several in a list. `END` is left out.

    ``what`` begins the message about an unknown node. Raises `InvalidUpdateError` for one.
    """
    names, sends = [], []
    for item in destinations_of(goto):
        if isinstance(item, Send):
            sends.append(item)
        elif item not in nodes and item != END:
            raise InvalidUpdateError(
                f"{what} leads to {item!r}, which is not a node.{suggest(str(item), [*nodes, END])}", nodes=[node]
            )
        elif item != END:
            names.append(item)
    return names, sends


def _command_updates(schema: StateSchema, node: str, update: Any) -> Sequence[Mapping[str, Any]]:
    """Return the mappings that a command's ``update`` stands for."""
    if update is None:
        return []
    pairs = mappings_of_pairs(update)
    return pairs if pairs is not None else [_as_update(schema, node, update, "returned a Command whose update is")]


def encode_update(schema: StateSchema, node: str, update: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a node wrote as JSON data; raise `InvalidUpdateError` if a channel cannot take its value."""
    channels = schema.channels
    encoded = {}
    for name, value in update.items():
        if name not in channels:
            raise InvalidUpdateError(
                f"Node {node!r} wrote {name!r}, which the state does not declare.{suggest(str(name), channels.names)}",
                channel=name,
                nodes=[node],
            )
        try:
            encoded[name] = channels[name].encode_write(value)
            if is_too_deep(encoded[name]):
                raise InvalidUpdateError(
                    f"Channel {name!r} would nest lists and mappings deeper than {MAX_DEPTH} levels. Make the value "
                    "flatter, or keep it elsewhere and put its address into the state.",
                    channel=name,
                )
        except InvalidUpdateError as error:
            error.message = f"Node {node!r}: {error.message}"
            error.parts["nodes"] = [node]
            raise
    return encoded


def check_write_size(
    node: str, writes: Sequence[Mapping[str, Any]], limit: int, *, sends: Iterable[SentTask] = ()
) -> None:
    """Raise `PayloadTooLargeError` if what a node wrote and sent is larger than ``limit`` bytes of JSON."""
    sizes: dict[str, int] = {}
    for write in writes:
        for name, value in write.items():
            sizes[name] = sizes.get(name, 0) + json_size(value)
    for send in sends:
        name = f"Send to {send.node}"
        sizes[name] = sizes.get(name, 0) + json_size(send.input)
    check_size(f"What node {node!r} wrote", sizes, limit=limit, nodes=[node])


def _refuse_parent(node: str, command: Command) -> None:
    if command.graph == Command.PARENT:
        raise InvalidUpdateError(
            f"Node {node!r} returned Command(graph=Command.PARENT), and its graph has no graph around it. Leave "
            "'graph' out to lead to nodes of the same graph.",
            nodes=[node],
        )


def _as_update(schema: StateSchema, node: str, item: Any, verb: str) -> Mapping[str, Any]:
    update = schema.as_mapping(item)
    if update is None:
        raise InvalidUpdateError(
            f"Node {node!r} {verb} {type_name(item)}. Return a mapping of the channels it writes "
            f"({', '.join(map(repr, schema.channels.names))}), a Command, a list of these, or None.",
            nodes=[node],
        )
    return update
