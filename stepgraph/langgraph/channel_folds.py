"""LangGraph's channel objects as the channels of a registry.

A channel's value is recorded as what its ``checkpoint()`` returns. A last value, a list that grows and a list of
messages have a built-in fold; every other channel is folded by its own object, in an activity.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeAlias

from langgraph.channels import (
    BinaryOperatorAggregate,
    DeltaChannel,
    LastValue,
    LastValueAfterFinish,
    NamedBarrierValue,
    NamedBarrierValueAfterFinish,
    UntrackedValue,
)
from langgraph.channels.base import BaseChannel
from langgraph.graph.message import add_messages

from stepgraph.engine.changes import NOTHING
from stepgraph.engine.folds import MESSAGES
from stepgraph.engine.spec import ChannelSpec
from stepgraph.errors import GraphDefinitionError
from stepgraph.execution.channels import Channel
from stepgraph.langgraph.private_names import MISSING
from stepgraph.serde.message_list import MessageListCodec
from stepgraph.serde.plain_json import RoundTripError
from stepgraph.serde.tagged_values import TaggedCodec

AnyChannel: TypeAlias = BaseChannel[Any, Any, Any]

_KEPT_WITHOUT_WRITES: Final = (LastValue, UntrackedValue, BinaryOperatorAggregate, DeltaChannel)
"""The channels that a super-step without writes leaves as they are. `EphemeralValue` and `Topic` lose their values."""

_JOINS: Final = (LastValueAfterFinish, NamedBarrierValue, NamedBarrierValueAfterFinish)
"""The channels by which LangGraph makes joins and deferred nodes. No state key has one."""


class ChannelFold:
    """The fold of a channel by LangGraph's own object."""

    def __init__(self, channel: AnyChannel) -> None:
        self._channel = channel
        self.every_step = not isinstance(channel, _KEPT_WITHOUT_WRITES)

    def fold(self, value: Any, writes: Sequence[Any]) -> Any:
        """Return the value after all writes of one super-step; `NOTHING` if the channel has none then."""
        channel = restored(self._channel, value)
        channel.update(list(writes))
        return value_of(channel)


def restored(channel: AnyChannel, value: Any) -> AnyChannel:
    """Return a copy of a channel with a recorded value; `NOTHING` stands for none."""
    copy = channel.from_checkpoint(MISSING if value is NOTHING else value)
    if value is not NOTHING and not copy.is_available():  # an UntrackedValue ignores what it is restored from
        copy.update([value])
    return copy


def value_of(channel: AnyChannel) -> Any:
    """Return what is recorded of a channel; `NOTHING` if it has no value."""
    if not channel.is_available():
        return NOTHING
    value = channel.checkpoint()
    return channel.get() if value is MISSING else value


@dataclass(frozen=True)
class AdoptedChannel(Channel):
    """A key of a LangGraph state."""

    @cached_property
    def spec(self) -> ChannelSpec:
        """The channel as data."""
        spec = super().spec.model_copy(update={"untracked": self.reducer is UntrackedValue})
        return spec.model_copy(update={"fold": MESSAGES}) if isinstance(self.codec, MessageListCodec) else spec


def adopted_channel(graph: str, name: str, channel: AnyChannel, classes: Sequence[type]) -> AdoptedChannel:
    """Return a channel of LangGraph's as one of a registry.

    Args:
        graph: the graph's name, for the message.
        name: the state key.
        channel: LangGraph's object for it.
        classes: the classes that its values may have, beside LangChain's and Python's own.

    Raises:
        GraphDefinitionError: the channel is one of those that LangGraph makes joins with.
    """
    if isinstance(channel, _JOINS):
        raise GraphDefinitionError(
            f"State key {name!r} of graph {graph!r} is a {type(channel).__name__}, by which LangGraph makes joins. "
            "stepgraph makes joins itself; give the key a reducer.",
            graph=graph,
            key=name,
        )
    reducer: Any = getattr(channel, "operator", None) or getattr(channel, "reducer", None)
    typ = getattr(channel, "typ", Any)
    if isinstance(channel, LastValue):
        codec = TaggedCodec(classes)
        return AdoptedChannel(name, typ, None, codec, codec)
    empty = value_of(channel.from_checkpoint(MISSING))
    codec = TaggedCodec(classes)
    if isinstance(channel, BinaryOperatorAggregate) and isinstance(empty, list):
        if reducer is add_messages:
            codec = MessageListCodec(classes, annotation=typ)
        elif reducer is operator.add:
            codec = TaggedCodec(classes, plain_kind="list")
    return AdoptedChannel(
        name,
        typ,
        reducer or type(channel),
        codec,
        codec,
        empty=empty if empty is NOTHING else _encoded(name, codec, empty),
        custom_fold=ChannelFold(channel),
    )


def _encoded(name: str, codec: TaggedCodec, empty: Any) -> Any:
    try:
        return codec.encode(empty)
    except RoundTripError as error:
        raise GraphDefinitionError(
            f"State key {name!r} begins with a value that cannot travel between processes: {error}.", key=name
        ) from error
