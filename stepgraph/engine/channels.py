"""Channels: the keys of a graph's state, each with its type, its reducer and its empty value.

Owns how writes are folded into a value, and how writes and values become JSON data. Refuses to know nodes, super-steps
and where code runs. Reducers run wherever writes are folded, in workflows above all, so they must be pure functions.

Values in memory are shared: a checkpoint's value holds the same objects as the one before, except where it changed.
So nothing may change a value in place. A reducer that might do so gets a copy.
"""

from __future__ import annotations

import collections.abc
import copy
import operator
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

from pydantic import PydanticUndefinedAnnotation, PydanticUserError, ValidationError
from pydantic_core import SchemaError

from stepgraph.engine._reducer_signature import check_signature, update_annotation
from stepgraph.errors import (
    GraphDefinitionError,
    InvalidUpdateError,
    ReducerError,
    SerializationError,
    suggest,
)
from stepgraph.serde.equality import reuse_items, same
from stepgraph.serde.error_text import first_line, type_name
from stepgraph.serde.json_values import JsonValues
from stepgraph.serde.plain_json import RoundTripError, as_json, json_size
from stepgraph.serde.type_codec import TypeCodec

Reducer = Callable[[Any, Any], Any]
"""Takes a channel's value and an update, and returns the new value."""

Values = Mapping[str, Any]
"""Values by channel."""

NOTHING: Any = object()
"""Stands for the value of a channel that has none, since `None` may be a value."""

_CONCRETE: dict[Any, type] = {
    collections.abc.Sequence: list,
    collections.abc.MutableSequence: list,
    collections.abc.Collection: list,
    collections.abc.Iterable: list,
    collections.abc.Set: set,
    collections.abc.MutableSet: set,
    collections.abc.Mapping: dict,
    collections.abc.MutableMapping: dict,
}
"""The class whose empty instance is the empty value of an abstract type."""

_BUILT_IN = (types.BuiltinFunctionType, types.WrapperDescriptorType, types.MethodDescriptorType)

_NON_MUTATING = (operator.add, operator.or_, operator.and_, max, min)
"""Reducers that never change their arguments, so that they need no copy."""


class Write(NamedTuple):
    """One node's value for one channel, as JSON data."""

    node: str
    channel: str
    value: Any


@dataclass(frozen=True)
class Channel:
    """One key of the state. `make_channel` builds it from an annotation."""

    name: str
    annotation: Any
    reducer: Reducer | None
    codec: TypeCodec = field(repr=False)
    write_codec: TypeCodec = field(repr=False)
    """For what a node writes: of the channel's type, or of the reducer's second parameter if that is annotated."""
    accepts_any_json: bool = False
    """Whether a write may also be JSON data of another type, because the reducer does not declare what it accepts."""
    empty: Any = NOTHING
    """JSON data of the type's empty value, for a channel with a reducer; `NOTHING` if the type has no empty value."""

    @property
    def appends(self) -> bool:
        """Whether the reducer only concatenates lists. The result of that is of the channel's type without a check."""
        return self.reducer is operator.add and self.codec.concatenates

    @property
    def type_text(self) -> str:
        """The declared type, as it would be written in code."""
        return annotation_text(self.annotation)

    def zero(self) -> Any:
        """Return a new empty value; `NOTHING` if the channel has no reducer, or its type no empty value."""
        return NOTHING if self.empty is NOTHING else self.codec.decode(self.empty)

    def encode_write(self, value: Any) -> Any:
        """Return what a node wrote as JSON data.

        Raises:
            SerializationError: the value does not fit the declared type, or would come back as another value.
        """
        try:
            return self.write_codec.encode(value)
        except RoundTripError as error:
            if self.accepts_any_json:
                try:
                    encoded = as_json(value)
                    if same(value, self.decode_write(encoded)):
                        return encoded
                except RoundTripError:
                    pass
            raise SerializationError(
                f"Channel {self.name!r} is declared {annotation_text(self.write_codec.annotation)} and cannot take "
                f"this {type_name(value)}: {error}. Write a value of the declared type, or declare the type you write.",
                channel=self.name,
                value_type=type_name(value),
            ) from error

    def decode_write(self, encoded: Any) -> Any:
        """Return what a node wrote, from JSON data. Raises pydantic's `ValidationError` if it does not fit."""
        try:
            return self.write_codec.decode(encoded)
        except ValidationError:
            if self.accepts_any_json:
                return copy.deepcopy(encoded)
            raise

    def value_for_reducer(self, value: Any) -> Any:
        """Return the value that the first write is folded into: a copy if the reducer might change it in place.

        For `NOTHING`, it is the empty value.
        """
        if value is NOTHING:
            return self.zero()
        if self.reducer is None or self.reducer in _NON_MUTATING:
            return value
        return self.codec.copy(value)

    def fold(self, value: Any, write: Any) -> Any:
        """Return the value after one write. A channel without a reducer, or without a value, takes the write itself."""
        return write if self.reducer is None or value is NOTHING else self.reducer(value, write)


class Channels:
    """All channels of a graph, by name, in the order in which the state declares them."""

    def __init__(self, channels: Iterable[Channel]) -> None:
        self._channels = {channel.name: channel for channel in channels}

    def __iter__(self) -> typing.Iterator[Channel]:
        return iter(self._channels.values())

    def __contains__(self, name: str) -> bool:
        return name in self._channels

    def __getitem__(self, name: str) -> Channel:
        if name not in self._channels:
            raise InvalidUpdateError(f"There is no channel {name!r}.{suggest(name, self._channels)}", channel=name)
        return self._channels[name]

    @property
    def names(self) -> tuple[str, ...]:
        """The channels' names, in order."""
        return tuple(self._channels)

    def zeros(self) -> dict[str, Any]:
        """Return the values of a new thread: the empty value of each channel that has one."""
        zeros = {channel.name: channel.zero() for channel in self}
        return {name: zero for name, zero in zeros.items() if zero is not NOTHING}

    def fold(self, values: Values, writes: Iterable[Write], *, step: int) -> dict[str, Any]:
        """Return the values after the writes of one super-step, which are applied in their order.

        Args:
            values: the values before.
            writes: all writes of the super-step.
            step: the number of the super-step, for error messages.

        Raises:
            InvalidUpdateError: there are several writes to a channel without a reducer.
            ReducerError: a reducer raised, or returned a value that its channel cannot hold; or a write that was
                recorded under an earlier version of the state does not fit its channel.
        """
        by_channel: dict[str, list[Write]] = {}
        for write in writes:
            by_channel.setdefault(write.channel, []).append(write)
        folded = dict(values)
        for name, channel_writes in by_channel.items():
            channel = self[name]
            if channel.reducer is None and len(channel_writes) > 1:
                nodes = [write.node for write in channel_writes]
                writers = ", ".join(map(repr, nodes))
                raise InvalidUpdateError(
                    f"Channel {name!r} got {len(nodes)} values in step {step} (from {writers}). "
                    f"Give it a reducer: Annotated[{channel.type_text}, operator.add], say.",
                    channel=name,
                    nodes=nodes,
                    step=step,
                )
            folded[name] = _fold_writes(channel, folded.get(name, NOTHING), channel_writes, step)
        return {name: folded[name] for name in self.names if name in folded}

    def encode(self, values: Values) -> dict[str, Any]:
        """Return values that are known to be of the declared types as JSON data."""
        return {name: self[name].codec.dump(value) for name, value in values.items()}

    def decode(self, encoded: Values) -> dict[str, Any]:
        """Return new values from JSON data.

        Raises:
            InvalidUpdateError: a value no longer fits its channel, or the channel no longer exists.
        """
        values = {}
        for name in encoded:
            codec = self[name].codec
            try:
                if isinstance(encoded, JsonValues):
                    values[name] = codec.decode_text(encoded.texts[name])
                else:
                    values[name] = codec.decode(encoded[name])
            except Exception as error:  # pydantic's, or whatever a validator of the user's raises
                raise InvalidUpdateError(
                    f"The recorded value of channel {name!r} does not fit its type {self[name].type_text}: "
                    f"{first_line(error)}. Make the type accept what older runs have written.",
                    channel=name,
                ) from error
        return values


def size_by_channel(encoded: Values) -> dict[str, int]:
    """Return the bytes of JSON text that each channel takes."""
    return {name: json_size(value) for name, value in encoded.items()}


def make_channel(name: str, annotation: Any) -> Channel:
    """Return the channel for a key of the state.

    Args:
        name: the key.
        annotation: its type; ``Annotated[type, reducer]`` gives the channel a reducer.

    Raises:
        GraphDefinitionError: values of the type cannot become JSON and come back, or the reducer is async or does not
            take two arguments.
    """
    reducer = None
    if get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        last = metadata[-1]
        if callable(last) and not isinstance(last, type):
            reducer = last
            annotation = inner if len(metadata) == 1 else Annotated[(inner, *metadata[:-1])]
    if reducer is not None:
        check_signature(name, reducer)
    codec = _codec(name, annotation)
    if reducer is None:
        return Channel(name, annotation, None, codec, codec)
    hint = update_annotation(reducer)
    write_codec = codec if hint is None else _codec(name, Union[annotation, hint])  # noqa: UP007 (runtime values)
    accepts_any_json = hint is None and not isinstance(reducer, _BUILT_IN)
    return Channel(name, annotation, reducer, codec, write_codec, accepts_any_json, _empty(annotation, codec))


def annotation_text(annotation: Any) -> str:
    """Return a type as it would be written in code: ``list[str]``, ``str | None``, ``Document``."""
    if get_origin(annotation) is None and isinstance(annotation, type):
        return annotation.__qualname__
    return re.sub(r" at 0x[0-9a-fA-F]+", "", str(annotation)).replace("typing.", "")


def _fold_writes(channel: Channel, previous: Any, writes: list[Write], step: int) -> Any:
    """Return a channel's value after all writes to it in one super-step. Raises `ReducerError`."""
    value = previous
    for number, write in enumerate(writes):
        try:
            if number == 0:
                value = channel.value_for_reducer(value)
            value = channel.fold(value, channel.decode_write(write.value))
        except Exception as error:
            culprit = "reducer" if channel.reducer is not None else "value"
            raise ReducerError(
                f"The {culprit} of channel {channel.name!r} failed in step {step} on what {write.node!r} wrote: "
                f"{type_name(error)}: {first_line(error)}. "
                "Fix it, then resume the thread; nothing that its nodes wrote is lost.",
                channel=channel.name,
                node=write.node,
                step=step,
            ) from error
    if channel.reducer is None or channel.appends:
        return value
    try:
        return reuse_items(channel.codec.round_trip(value), previous)
    except RoundTripError as error:
        raise ReducerError(
            f"The reducer of channel {channel.name!r} made a {type_name(value)} in step {step}, but the channel is "
            f"declared {channel.type_text}: {error}. Return a value of the declared type.",
            channel=channel.name,
            node=writes[-1].node,
            step=step,
        ) from error


def _codec(key: str, annotation: Any) -> TypeCodec:
    try:
        return TypeCodec(annotation)
    except (PydanticUserError, PydanticUndefinedAnnotation, SchemaError, RoundTripError) as error:
        raise GraphDefinitionError(
            f"State key {key!r} is declared {annotation_text(annotation)}, which cannot travel between processes: "
            f"{first_line(error)}. Declare a dataclass, a pydantic model or a plain type.",
            key=key,
        ) from error


def _empty(annotation: Any, codec: TypeCodec) -> Any:
    """Return JSON data of a type's empty value; `NOTHING` if the type has none that is always the same."""
    bare = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    origin = get_origin(bare) or bare
    origin = _CONCRETE.get(origin, origin)
    if not isinstance(origin, type):
        return NOTHING
    try:
        empty = codec.encode(origin())
        return empty if same(codec.decode(empty), origin()) else NOTHING
    except Exception:  # the class requires arguments, or is a TypedDict with required keys
        return NOTHING
