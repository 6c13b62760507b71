"""Channels: the keys of a graph's state, each with its type, its reducer and its zero.

Owns how one write meets one value, and how writes and values become JSON data. Knows nothing of nodes, super-steps or
where code runs. Reducers run wherever a fold is made, in a workflow above all, so they must be pure.
"""

from __future__ import annotations

import collections.abc
import copy
import inspect
import operator
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin, get_type_hints

from pydantic import PydanticUndefinedAnnotation, PydanticUserError, ValidationError
from pydantic_core import SchemaError

from stepgraph.errors import (
    GraphDefinitionError,
    InvalidUpdateError,
    ReducerError,
    SerializationError,
    suggest,
)
from stepgraph.serde.equality import same, shared
from stepgraph.serde.error_text import first_line, type_name
from stepgraph.serde.json_values import JsonValues
from stepgraph.serde.plain_json import RoundTripError, as_json, json_size
from stepgraph.serde.type_codec import TypeCodec

Reducer = Callable[[Any, Any], Any]
Values = Mapping[str, Any]

NOTHING: Any = object()
"""What an empty channel holds; never leaves this module's callers."""

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

_BUILT_IN = (types.BuiltinFunctionType, types.WrapperDescriptorType, types.MethodDescriptorType)

_LEAVES_ALONE = (operator.add, operator.or_, operator.and_, max, min)
"""Reducers that never change what they are given, so they need no copy of it."""


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
    writes: TypeCodec = field(repr=False)
    """What a node may write: the reducer's second parameter where it is annotated, otherwise the channel's type."""
    any_write: bool = False
    """The reducer does not say what it takes, so a write may also be plain JSON of another type."""
    empty: Any = NOTHING
    """JSON data of the value that the first write meets; `NOTHING` where the type has no zero."""

    @property
    def appends(self) -> bool:
        """Whether the reducer does nothing but append to a list: what it makes needs no proof."""
        return self.reducer is operator.add and self.codec.concatenates

    @property
    def type_text(self) -> str:
        """The declared type, as a reader would write it."""
        return annotation_text(self.annotation)

    def zero(self) -> Any:
        """A new empty value of the type, `NOTHING` where it has none, or where no reducer would meet it."""
        return NOTHING if self.empty is NOTHING else self.codec.decode(self.empty)

    def encode_write(self, value: Any) -> Any:
        """JSON data for what a node wrote; `SerializationError` if it would come back as something else."""
        try:
            return self.writes.encode(value)
        except RoundTripError as error:
            if self.any_write:
                try:
                    encoded = as_json(value)
                    if same(value, self.decode_write(encoded)):
                        return encoded
                except RoundTripError:
                    pass
            raise SerializationError(
                f"Channel {self.name!r} is declared {annotation_text(self.writes.annotation)} and cannot take this "
                f"{type_name(value)}: {error}. Write a value of the declared type, or declare the type you write.",
                channel=self.name,
                value_type=type_name(value),
            ) from error

    def decode_write(self, encoded: Any) -> Any:
        """What a node wrote, from JSON data."""
        try:
            return self.writes.decode(encoded)
        except ValidationError:
            if self.any_write:
                return copy.deepcopy(encoded)
            raise

    def own(self, value: Any) -> Any:
        """A value that the reducer may do with as it likes: one that mutates what it is given harms no checkpoint."""
        if value is NOTHING:
            return self.zero()
        if self.reducer is None or self.reducer in _LEAVES_ALONE:
            return value
        return self.codec.copy(value)

    def fold(self, value: Any, write: Any) -> Any:
        """The value after one write."""
        return write if self.reducer is None or value is NOTHING else self.reducer(value, write)


class Channels:
    """All channels of a graph, by name."""

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
        """The channels in the order in which the state declares them."""
        return tuple(self._channels)

    def zeros(self) -> dict[str, Any]:
        """The channels that have a value before anything was written."""
        zeros = {channel.name: channel.zero() for channel in self}
        return {name: zero for name, zero in zeros.items() if zero is not NOTHING}

    def fold(self, values: Values, writes: Iterable[Write], *, step: int) -> dict[str, Any]:
        """The values after one super-step's writes, applied in their order.

        Raises:
            InvalidUpdateError: two writes to a channel that has no reducer.
            ReducerError: a reducer raised, or made what its channel cannot hold; or a write in an older history no
                longer fits its channel.
        """
        by_channel: dict[str, list[Write]] = {}
        for write in writes:
            by_channel.setdefault(write.channel, []).append(write)
        after = dict(values)
        for name, received in by_channel.items():
            channel = self[name]
            if channel.reducer is None and len(received) > 1:
                nodes = [write.node for write in received]
                raise InvalidUpdateError(
                    f"Channel {name!r} got {len(received)} values in step {step} (from {', '.join(map(repr, nodes))}). "
                    f"Give it a reducer: Annotated[{channel.type_text}, operator.add], say.",
                    channel=name,
                    nodes=nodes,
                    step=step,
                )
            after[name] = self._folded(channel, after.get(name, NOTHING), received, step)
        return {name: after[name] for name in self.names if name in after}

    def encode(self, values: Values) -> dict[str, Any]:
        """Values that were decoded, or folded, as JSON data."""
        return {name: self[name].codec.dump(value) for name, value in values.items()}

    def decode(self, encoded: Values) -> dict[str, Any]:
        """New values from JSON data; `InvalidUpdateError` naming the channel that no longer fits."""
        values = {}
        for name in encoded:
            codec = self[name].codec
            try:
                if isinstance(encoded, JsonValues):
                    values[name] = codec.decode_text(encoded.texts[name])
                else:
                    values[name] = codec.decode(encoded[name])
            except Exception as error:  # pydantic's, or whatever a validator of the author's raises
                raise InvalidUpdateError(
                    f"The recorded value of channel {name!r} does not fit its type {self[name].type_text}: "
                    f"{first_line(error)}. Make the type accept what older runs have written.",
                    channel=name,
                ) from error
        return values

    def _folded(self, channel: Channel, value: Any, received: list[Write], step: int) -> Any:
        before = value
        for number, write in enumerate(received):
            try:
                if number == 0:
                    value = channel.own(value)
                value = channel.fold(value, channel.decode_write(write.value))
            except Exception as error:
                raise self._reducer_error(channel, write, step, error) from error
        if channel.reducer is None or channel.appends:
            return value
        try:
            return shared(
                channel.codec.round_trip(value), before
            )  # checkpoints in memory have in common what did not change
        except RoundTripError as error:
            raise ReducerError(
                f"The reducer of channel {channel.name!r} made a {type_name(value)} in step {step}, but the channel is "
                f"declared {channel.type_text}: {error}. Return a value of the declared type.",
                channel=channel.name,
                node=received[-1].node,
                step=step,
            ) from error

    def _reducer_error(self, channel: Channel, write: Write, step: int, error: Exception) -> ReducerError:
        what = f"{type_name(error)}: {first_line(error)}"
        culprit = "reducer" if channel.reducer is not None else "value"
        return ReducerError(
            f"The {culprit} of channel {channel.name!r} failed in step {step} on what {write.node!r} wrote: {what}. "
            "Mend it, then resume the thread; nothing that its nodes wrote is lost.",
            channel=channel.name,
            node=write.node,
            step=step,
        )


def size_by_channel(encoded: Values) -> dict[str, int]:
    """Bytes of JSON for each channel."""
    return {name: json_size(value) for name, value in encoded.items()}


def make_channel(name: str, annotation: Any) -> Channel:
    """A channel from a state's annotation; ``Annotated[type, reducer]`` gives it a reducer.

    Raises:
        GraphDefinitionError: the type has no way to JSON and back, or the reducer does not take two arguments.
    """
    reducer = None
    if get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        last = metadata[-1]
        if callable(last) and not isinstance(last, type):
            reducer = last
            annotation = inner if len(metadata) == 1 else Annotated[(inner, *metadata[:-1])]
    if reducer is not None:
        _check_arity(name, reducer)
    codec = _codec(name, annotation)
    if reducer is None:
        return Channel(name, annotation, None, codec, codec)
    hint = _second_parameter(reducer)
    writes = codec if hint is None else _codec(name, Union[annotation, hint])  # noqa: UP007 (runtime values)
    any_write = hint is None and not isinstance(reducer, _BUILT_IN)
    return Channel(name, annotation, reducer, codec, writes, any_write, _zero(annotation, codec))


def annotation_text(annotation: Any) -> str:
    """A type as a reader would write it: ``list[str]``, ``str | None``, ``Document``."""
    if get_origin(annotation) is None and isinstance(annotation, type):
        return annotation.__qualname__
    return re.sub(r" at 0x[0-9a-fA-F]+", "", str(annotation)).replace("typing.", "")


def _codec(name: str, annotation: Any) -> TypeCodec:
    try:
        return TypeCodec(annotation)
    except (PydanticUserError, PydanticUndefinedAnnotation, SchemaError, RoundTripError) as error:
        raise GraphDefinitionError(
            f"State key {name!r} is declared {annotation_text(annotation)}, which cannot travel between processes: "
            f"{first_line(error)}. Declare a dataclass, a pydantic model or a plain type.",
            key=name,
        ) from error


def _zero(annotation: Any, codec: TypeCodec) -> Any:
    """JSON data of the type's empty value, `NOTHING` if it has none that is always the same."""
    bare = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    origin = get_origin(bare) or bare
    origin = _CONCRETE.get(origin, origin)
    if not isinstance(origin, type):
        return NOTHING
    try:
        empty = codec.encode(origin())
        return empty if same(codec.decode(empty), origin()) else NOTHING
    except Exception:  # a class that wants arguments has no zero, nor has a TypedDict that wants keys
        return NOTHING


def _check_arity(name: str, reducer: Reducer) -> None:
    if inspect.iscoroutinefunction(reducer):
        raise GraphDefinitionError(
            f"The reducer of state key {name!r} is async. Reducers run where nothing can be awaited: make it a plain "
            "function, and await in the node that writes.",
            key=name,
        )
    try:
        inspect.signature(reducer).bind(None, None)
    except ValueError:  # a builtin that tells no signature
        return
    except TypeError as error:
        raise GraphDefinitionError(
            f"The reducer of state key {name!r} must take two arguments, (current, update): {first_line(error)}.",
            key=name,
        ) from error


def _second_parameter(reducer: Reducer) -> Any:
    """The annotation of what a reducer takes as the update, if it says so."""
    try:
        parameters = list(inspect.signature(reducer).parameters)
        hints = get_type_hints(reducer, include_extras=True)
    except Exception:  # no signature, or annotations that mean nothing here
        return None
    hint = hints.get(parameters[1]) if len(parameters) > 1 else None
    return None if hint is None or isinstance(hint, typing.TypeVar) or hint is Any else hint
