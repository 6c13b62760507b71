"""Channels: the keys of a graph's state, each with its type and its reducer, as the code at hand declares them.

Owns how values become JSON data and come back, and the proof that they do. How the writes of a super-step are folded is
recorded in a run's spec; this module says which fold stands for a reducer, and has the fold of a custom one.
"""

from __future__ import annotations

import collections.abc
import hashlib
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import PydanticUndefinedAnnotation, PydanticUserError, ValidationError
from pydantic_core import SchemaError, to_json

from stepgraph.engine.changes import NOTHING
from stepgraph.engine.folds import CUSTOM, LAST_VALUE, OVERWRITE, is_overwrite
from stepgraph.engine.spec import ChannelSpec, same_type, type_in, types_hash
from stepgraph.errors import ChannelTypeError, GraphDefinitionError, InvalidUpdateError, SerializationError, suggest
from stepgraph.execution._reducer_signature import check_signature, update_annotation
from stepgraph.execution.message_reducer import is_add_messages
from stepgraph.execution.reducers import (
    CustomFold,
    PairwiseFold,
    Reducer,
    accepts_any_update,
    built_in_fold,
    reducer_name,
    reducer_text,
)
from stepgraph.protocol.langgraph_objects import as_overwrite
from stepgraph.protocol.overwrite import Overwrite
from stepgraph.serde.declared_classes import classes_in
from stepgraph.serde.equality import describe_loss, same
from stepgraph.serde.error_text import first_line, type_name, type_text
from stepgraph.serde.json_values import JsonValues
from stepgraph.serde.message_list import MessageListCodec
from stepgraph.serde.plain_json import RoundTripError
from stepgraph.serde.tagged_values import TaggedCodec
from stepgraph.serde.type_codec import TypeCodec
from stepgraph.serde.value_codec import ValueCodec

Values = Mapping[str, Any]
"""Values by channel."""

FINGERPRINT_DIGITS = 8

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


@dataclass(frozen=True)
class Channel:
    """One key of the state. `make_channel` builds it from an annotation."""

    name: str
    annotation: Any
    reducer: Reducer | None
    codec: ValueCodec = field(repr=False)
    write_codec: ValueCodec = field(repr=False)
    """For what a node writes: of the channel's type, or of the reducer's second parameter if that is annotated."""
    any_codec: ValueCodec | None = field(default=None, repr=False)
    """For a write of another type. `None` unless the reducer does not declare what it accepts."""
    empty: Any = NOTHING
    """JSON data of the type's empty value, for a channel with a reducer; `NOTHING` if the type has no empty value."""
    custom_fold: CustomFold | None = None
    """How the graph's code folds writes; `None` if the channel has no reducer."""

    @cached_property
    def spec(self) -> ChannelSpec:
        """The channel as data."""
        fold = LAST_VALUE if self.custom_fold is None else CUSTOM
        if self.reducer is not None:
            fold = built_in_fold(self.reducer, self.codec.plain_kind) or CUSTOM
        texts = [self.codec.fingerprint(), reducer_text(self.reducer) if self.reducer is not None else ""]
        return ChannelSpec(
            name=self.name,
            type=self.type_text,
            reducer=reducer_name(self.reducer) if self.reducer is not None else None,
            fold=fold,
            has_zero=self.empty is not NOTHING,
            zero=None if self.empty is NOTHING else self.empty,
            every_step=self.custom_fold is not None and self.custom_fold.every_step,
            fingerprint=hashlib.sha256(to_json(texts)).hexdigest()[:FINGERPRINT_DIGITS],
        )

    @property
    def type_text(self) -> str:
        """The declared type, as it would be written in code."""
        return type_text(self.annotation)

    def zero(self) -> Any:
        """Return a new empty value; `NOTHING` if the channel has no reducer, or its type no empty value."""
        return NOTHING if self.empty is NOTHING else self.codec.decode(self.empty)

    def coerce_write(self, value: Any) -> Any:
        """Return what a caller writes, converted to the declared type. Raises an error of the codec's."""
        if (overwrite := as_overwrite(value)) is not None:
            return Overwrite(self.codec.coerce(overwrite.value))
        return self.write_codec.coerce(value)

    def encode_write(self, value: Any) -> Any:
        """Return what a node wrote as JSON data.

        Raises:
            SerializationError: the value does not fit the declared type, or would come back as another value.
        """
        overwrite = as_overwrite(value)
        try:
            if overwrite is not None:
                return {OVERWRITE: self.codec.encode(overwrite.value)}
            return self.write_codec.encode(value)
        except RoundTripError as error:
            if self.any_codec is not None and overwrite is None:
                try:
                    encoded = self.any_codec.encode(value)
                    if same(value, self.decode_write(encoded)):
                        return encoded
                except RoundTripError:
                    pass
            raise SerializationError(
                f"Channel {self.name!r} is declared {type_text(self.write_codec.annotation)} and cannot take "
                f"this {type_name(value)}: {error}. Write a value of the declared type, or declare the type you write.",
                channel=self.name,
                value_type=type_name(value),
            ) from error

    def decode_write(self, encoded: Any) -> Any:
        """Return what a node wrote, from JSON data. Raises an error of the codec's if it does not fit."""
        if is_overwrite(encoded):
            return Overwrite(self.codec.decode(encoded[OVERWRITE]))
        try:
            return self.write_codec.decode(encoded)
        except (ValidationError, RoundTripError):
            if self.any_codec is not None:
                return self.any_codec.decode(encoded)
            raise

    def prove_write(self, encoded: Any, stamp: str | None) -> Any:
        """Return what a node wrote, from JSON data that was written under another type. Raises like `prove`."""
        try:
            write = self.decode_write(encoded)
            loss = describe_loss(encoded, self.encode_write(write))
        except (ValidationError, RoundTripError, InvalidUpdateError) as error:
            raise self._does_not_fit(error, stamp) from error
        if loss is not None:
            raise self._does_not_fit(RoundTripError(loss), stamp)
        return write

    def decode(self, encoded: Any) -> Any:
        """Return a new value from JSON data that is known to come back unchanged under this channel's type.

        Raises:
            ChannelTypeError: it does not, although it should.
        """
        try:
            return self.codec.decode(encoded)
        except Exception as error:  # pydantic's, or whatever a validator of the user's raises
            raise self._does_not_fit(error) from error

    def prove(self, encoded: Any, stamp: str | None) -> Any:
        """Return a new value from JSON data that was recorded under another type, which ``stamp`` names if it is known.

        Raises:
            ChannelTypeError: the data does not come back unchanged under this channel's type.
        """
        try:
            return self.codec.prove(encoded)
        except RoundTripError as error:
            raise self._does_not_fit(error, stamp) from error

    def decode_text(self, text: bytes) -> Any:
        """Return a new value from JSON text that comes back unchanged under this channel's type. Raises like `decode`.

        Faster than `decode` where the value is not plain JSON data.
        """
        try:
            return self.codec.decode_text(text)
        except Exception as error:
            raise self._does_not_fit(error) from error

    def _does_not_fit(self, error: Exception, stamp: str | None = None) -> ChannelTypeError:
        recorded = type_in(stamp)
        return ChannelTypeError(
            f"The value of channel {self.name!r} was recorded as {recorded or 'another type'}, and does not come back "
            f"unchanged as {self.type_text}, which this code declares: {first_line(error)}. Deploy code whose type "
            "takes it, or write a value of the new type by update_state; if the channel has a reducer, as "
            'Overwrite(value), or {"__overwrite__": value} in JSON.',
            channel=self.name,
            declared=self.type_text,
            recorded=recorded,
        )


class Channels:
    """All channels of a graph, by name, in the order in which the state declares them."""

    def __init__(self, channels: Iterable[Channel]) -> None:
        self._channels = {channel.name: channel for channel in channels}

    def __iter__(self) -> typing.Iterator[Channel]:
        return iter(self._channels.values())

    def __contains__(self, name: object) -> bool:
        return name in self._channels

    def __getitem__(self, name: str) -> Channel:
        if name not in self._channels:
            raise InvalidUpdateError(f"There is no channel {name!r}.{suggest(name, self._channels)}", channel=name)
        return self._channels[name]

    @property
    def names(self) -> tuple[str, ...]:
        """The channels' names, in order."""
        return tuple(self._channels)

    @cached_property
    def types_hash(self) -> str:
        """The hash of all types and reducers; see `GraphSpec.types_hash`."""
        return types_hash({channel.name: channel.spec.fingerprint for channel in self})

    def zero_values(self) -> dict[str, Any]:
        """Return the empty value of each channel that has one: what nodes see of a channel without a value."""
        return {channel.name: channel.zero() for channel in self if channel.empty is not NOTHING}

    def zeros(self) -> dict[str, Any]:
        """Return the values of a new thread, as JSON data: the empty value of each channel that has one."""
        return {channel.name: channel.empty for channel in self if channel.empty is not NOTHING}

    def decode(self, encoded: Values, stamps: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return new values of the declared types from JSON data. Channels that are not declared are left out.

        Args:
            encoded: JSON data by channel.
            stamps: the stamps under which the values were recorded; a value with another stamp than its channel's is
                proven. `None` if the values are known to be of the declared types.

        Raises:
            ChannelTypeError: a value does not come back unchanged.
        """
        values = {}
        for name, channel in self._channels.items():
            if name not in encoded:
                continue
            if stamps is not None and not same_type(stamps.get(name), channel.spec.stamp):
                values[name] = channel.prove(encoded[name], stamps.get(name))
            elif isinstance(encoded, JsonValues):
                values[name] = channel.decode_text(encoded.texts[name])
            else:
                values[name] = channel.decode(encoded[name])
        return values

    def readable(self, encoded: Values, stamps: Mapping[str, str] | None) -> tuple[dict[str, Any], list[str]]:
        """Return values for a reader, and why some of them are not of their declared types.

        What no channel is declared for, and what does not come back unchanged, stays JSON data.
        """
        values, problems = {}, []
        for name in encoded:
            try:
                values.update(self.decode({name: encoded[name]}, stamps) if name in self else {name: encoded[name]})
            except ChannelTypeError as error:
                values[name] = encoded[name]
                problems.append(error.message)
        return values, problems

    def readable_write(self, name: str, encoded: Any, stamp: str | None) -> Any:
        """Return what a node wrote to a channel for a reader; JSON data if it does not come back unchanged."""
        try:
            channel = self[name]
            if same_type(stamp, channel.spec.stamp):
                return channel.decode_write(encoded)
            return channel.prove_write(encoded, stamp)
        except (InvalidUpdateError, ValidationError, RoundTripError):
            return encoded


def make_channel(name: str, annotation: Any, classes: Iterable[type] = ()) -> Channel:
    """Return the channel for a key of the state.

    Args:
        name: the key.
        annotation: its type; ``Annotated[type, reducer]`` gives the channel a reducer.
        classes: classes that values may have where the annotation says nothing of theirs, beside those that it
            mentions.

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
    classes = (*classes, *classes_in(annotation))
    if reducer is not None and is_add_messages(reducer):
        messages = MessageListCodec(classes, annotation=annotation)
        return Channel(name, annotation, reducer, messages, messages, empty=[], custom_fold=PairwiseFold(reducer))
    codec = _codec(name, annotation, classes)
    if reducer is None:
        return Channel(name, annotation, None, codec, codec)
    hint = update_annotation(reducer)
    write_codec = codec if hint is None else _codec(name, Union[annotation, hint], classes)  # noqa: UP007 (runtime values)
    any_codec = TaggedCodec(classes) if hint is None and accepts_any_update(reducer) else None
    empty = _empty(annotation, codec)
    return Channel(name, annotation, reducer, codec, write_codec, any_codec, empty, PairwiseFold(reducer))


def _codec(key: str, annotation: Any, classes: Iterable[type]) -> TypeCodec:
    try:
        return TypeCodec(annotation, classes)
    except (PydanticUserError, PydanticUndefinedAnnotation, SchemaError, RoundTripError) as error:
        raise GraphDefinitionError(
            f"State key {key!r} is declared {type_text(annotation)}, which cannot travel between processes: "
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
