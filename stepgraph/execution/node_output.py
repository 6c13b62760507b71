"""What a node may return, and how it becomes a task's writes as JSON data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stepgraph.errors import InvalidUpdateError, suggest
from stepgraph.execution.state_schema import StateSchema
from stepgraph.serde.error_text import type_name
from stepgraph.serde.plain_json import json_size
from stepgraph.serde.sizes import MAX_DEPTH, check_size, is_too_deep


def updates_in(schema: StateSchema, node: str, returned: Any) -> Iterable[Mapping[str, Any]]:
    """Yield the mappings that a node returned: one, or several in a list."""
    for item in returned if isinstance(returned, list | tuple) and not schema.is_root else [returned]:
        if item is None:
            continue
        update = schema.as_mapping(item)
        if update is None:
            raise InvalidUpdateError(
                f"Node {node!r} returned {type_name(item)}. Return a mapping of the channels it writes "
                f"({', '.join(map(repr, schema.channels.names))}), a list of mappings, or None.",
                nodes=[node],
            )
        yield update


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


def check_write_size(node: str, writes: Sequence[Mapping[str, Any]], limit: int) -> None:
    """Raise `PayloadTooLargeError` if what a node wrote is larger than ``limit`` bytes of JSON."""
    sizes: dict[str, int] = {}
    for write in writes:
        for name, value in write.items():
            sizes[name] = sizes.get(name, 0) + json_size(value)
    check_size(f"What node {node!r} wrote", sizes, limit=limit, nodes=[node])
