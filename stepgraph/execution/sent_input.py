"""The input of a node that is sent: as JSON data, and back.

The node gets what `Send` was given, of the same types, in a copy of its own. Values that JSON does not have are encoded
under the type that the state declares for their key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stepgraph.engine import checkpoint
from stepgraph.errors import ChannelTypeError, InvalidUpdateError, SerializationError, suggest
from stepgraph.execution.state_schema import StateSchema
from stepgraph.protocol.send import Send
from stepgraph.serde.error_text import first_line, type_name
from stepgraph.serde.formats import Data
from stepgraph.serde.plain_json import RoundTripError, as_json


class SentInput(Data):
    """What a node was sent, as JSON data."""

    value: Any = None
    typed: tuple[str, ...] = ()
    """The keys of ``value`` that are encoded under the types that the state declares."""
    is_state: bool = False
    """Whether it is an instance of the state's class."""


def encode_sends(
    schema: StateSchema, nodes: tuple[str, ...], sender: str, sends: list[Send]
) -> tuple[checkpoint.Send, ...]:
    """Return what a task sends, as JSON data.

    Args:
        schema: the graph's state.
        nodes: the names of the graph's nodes.
        sender: who sends, for messages: ``Node 'plan'``.
        sends: what is sent.

    Raises:
        InvalidUpdateError: there is no such node.
        SerializationError: an input would not come back as what it is.
    """
    for send in sends:
        if send.node not in nodes:
            raise InvalidUpdateError(
                f"{sender} sends to {send.node!r}, which is not a node.{suggest(str(send.node), nodes)}",
                nodes=[str(send.node)],
            )
    return tuple(
        checkpoint.Send(node=send.node, input=_encode(schema, sender, send).model_dump(exclude_defaults=True))
        for send in sends
    )


def decode_input(schema: StateSchema, node: str, data: Any) -> Any:
    """Return a new copy of what a node was sent.

    Raises:
        ChannelTypeError: other code sent it, and a value does not come back unchanged under the types of this code.
    """
    sent = SentInput.model_validate(data)
    if not sent.typed:
        return as_json(sent.value)
    values = as_json({name: item for name, item in sent.value.items() if name not in sent.typed})
    for name in sent.typed:
        try:
            values[name] = schema.channels[name].codec.prove(sent.value[name])
        except (RoundTripError, InvalidUpdateError) as error:
            raise ChannelTypeError(
                f"Node {node!r} was sent a value of {name!r} that does not come back unchanged under the type that "
                f"this code declares: {first_line(error)}. Deploy code whose type takes it, or run the sender again.",
                channel=name,
                node=node,
            ) from error
    in_order = {name: values[name] for name in sent.value}
    return schema.node_state(in_order) if sent.is_state else in_order


def _encode(schema: StateSchema, sender: str, send: Send) -> SentInput:
    """Return the input of a `Send` as JSON data; values of the state's keys under their declared types if need be."""
    if _is_json(send.arg):
        return SentInput(value=as_json(send.arg))
    is_state = isinstance(schema.declared, type) and type(send.arg) is schema.declared
    values = schema.as_mapping(send.arg) if is_state else send.arg
    if not isinstance(values, Mapping) or not all(isinstance(name, str) for name in values):
        raise _does_not_travel(sender, send, f"{type_name(send.arg)} is not JSON data")
    typed = tuple(name for name in values if name in schema.channels and (is_state or not _is_json(values[name])))
    encoded = {}
    for name, value in values.items():
        try:
            encoded[name] = schema.channels[name].codec.encode(value) if name in typed else as_json(value)
        except RoundTripError as error:
            raise _does_not_travel(sender, send, f"{name!r}: {error}") from error
    return SentInput(value=encoded, typed=typed, is_state=is_state)


def _is_json(value: Any) -> bool:
    try:
        as_json(value)
    except RoundTripError:
        return False
    return True


def _does_not_travel(sender: str, send: Send, reason: str) -> SerializationError:
    return SerializationError(
        f"{sender} cannot send this {type_name(send.arg)} to {send.node!r}: {reason}. Send plain JSON data, an "
        "instance of the state's class, or values under keys of the state that are of their declared types.",
        nodes=[send.node],
    )
