"""The input of a node that is sent: as JSON data, and back.

The node gets what `Send` was given, of the same types, in a copy of its own. As in LangGraph, it is not turned into an
instance of the class that the node declares.
"""

from __future__ import annotations

from typing import Any

from stepgraph.engine.checkpoint import SentTask
from stepgraph.errors import ChannelTypeError, InvalidUpdateError, SerializationError, suggest
from stepgraph.execution.state_schema import StateSchema
from stepgraph.protocol.send import Send
from stepgraph.serde.error_text import first_line, type_name
from stepgraph.serde.formats import Data
from stepgraph.serde.plain_json import RoundTripError
from stepgraph.serde.sizes import TOO_DEEP, is_too_deep
from stepgraph.serde.tagged_values import TaggedCodec


class SentInput(Data):
    """What a node was sent, as JSON data."""

    value: Any = None
    """Encoded by a `TaggedCodec`."""
    typed: tuple[str, ...] = ()
    """The keys of ``value`` that are encoded under the types that the state declares instead."""


def encode_sends(schema: StateSchema, nodes: tuple[str, ...], sender: str, sends: list[Send]) -> tuple[SentTask, ...]:
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
    return tuple(encode_send(schema, sender, send) for send in sends)


def encode_send(schema: StateSchema | None, sender: str, send: Send) -> SentTask:
    """Return a `Send` as JSON data, to whatever node. Raises `SerializationError` like `encode_sends`.

    Without the graph's schema, the input is JSON data, or has values whose classes any codec knows.
    """
    data = _encode(schema, sender, send).model_dump(exclude_defaults=True)
    if is_too_deep(data):
        raise _does_not_travel(sender, send, TOO_DEEP)
    return SentTask(node=send.node, input=data)


def decode_input(schema: StateSchema, node: str, data: Any) -> Any:
    """Return a new copy of what a node was sent.

    Raises:
        ChannelTypeError: other code sent it, and a value does not come back unchanged under the types of this code.
    """
    sent = SentInput.model_validate(data)
    name = None
    try:
        if not sent.typed:
            return schema.any_codec.prove(sent.value)
        values = {}
        for name, item in sent.value.items():
            codec = schema.channels[name].codec if name in sent.typed else schema.any_codec
            values[name] = codec.prove(item)
        return values
    except (RoundTripError, InvalidUpdateError) as error:
        what = "a value" if name is None else f"a value of {name!r}"
        raise ChannelTypeError(
            f"Node {node!r} was sent {what} that does not come back unchanged with this code: {first_line(error)}. "
            "Deploy code whose types take it, or run the sender again.",
            channel=name,
            node=node,
        ) from error


def _encode(schema: StateSchema | None, sender: str, send: Send) -> SentInput:
    """Return the input of a `Send` as JSON data; values of the state's keys under their declared types if need be."""
    any_codec = TaggedCodec() if schema is None else schema.any_codec
    try:
        return SentInput(value=any_codec.encode(send.arg))
    except RoundTripError as error:
        if schema is None or not isinstance(send.arg, dict) or not all(isinstance(name, str) for name in send.arg):
            raise _does_not_travel(sender, send, error) from error
    encoded, typed = {}, []
    for name, value in send.arg.items():
        try:
            encoded[name] = any_codec.encode(value)
        except RoundTripError as error:
            if name not in schema.channels:
                raise _does_not_travel(sender, send, f"{name!r}: {error}") from error
            typed.append(name)
            try:
                encoded[name] = schema.channels[name].codec.encode(value)
            except RoundTripError as problem:
                raise _does_not_travel(sender, send, f"{name!r}: {problem}") from problem
    return SentInput(value=encoded, typed=tuple(typed))


def _does_not_travel(sender: str, send: Send, reason: object) -> SerializationError:
    return SerializationError(
        f"{sender} cannot send this {type_name(send.arg)} to {send.node!r}: {reason}.", nodes=[send.node]
    )
