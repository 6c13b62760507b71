"""A graph's state schema: the classes that its author declared, as channels.

Owns which channels the classes of a graph make together, which of them an input may set and a result shows, and the
validation of inputs. What one class is has its place in `stepgraph.execution.state_class`; what a channel does with a
write is the business of `stepgraph.execution.channels`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from stepgraph.engine.constants import ROOT
from stepgraph.errors import GraphDefinitionError, InvalidInputError, InvalidUpdateError, suggest
from stepgraph.execution.channels import Channel, Channels, Values, make_channel
from stepgraph.execution.context_schema import ContextSchema
from stepgraph.execution.state_class import StateClass, attributes_of
from stepgraph.protocol.root_value import unwrapped, wrapped
from stepgraph.serde.declared_classes import classes_in
from stepgraph.serde.equality import describe_loss
from stepgraph.serde.error_text import first_line, type_name, type_text
from stepgraph.serde.tagged_values import TaggedCodec


class StateSchema:
    """The classes of a graph's state, input and output and of its nodes' views, with the channels that they make.

    A key that several classes declare is one channel. It has the type and the reducer of the class that came first.

    Args:
        declared: the class of the state.
        input_schema: the class of an input; the state's by default.
        output_schema: the class of a result; the state's by default.
        context_schema: the class of the context, if the graph declares one.
    """

    def __init__(
        self, declared: Any, *, input_schema: Any = None, output_schema: Any = None, context_schema: Any = None
    ) -> None:
        self.declared = declared
        self.context = ContextSchema(context_schema)
        self.channels = Channels(())
        self._classes: list[StateClass] = []
        self._state = self._added(declared)
        self.input_class = declared if input_schema is None else input_schema
        self.output_class = declared if output_schema is None else output_schema
        self._input, self._output = self._added(self.input_class), self._added(self.output_class)

    @property
    def input_names(self) -> tuple[str, ...]:
        """The channels that an input may set, in order."""
        return tuple(self._input.annotations)

    @property
    def output_names(self) -> tuple[str, ...]:
        """The channels that a result shows, in order."""
        return tuple(self._output.annotations)

    def names_unless_all(self, names: tuple[str, ...]) -> tuple[str, ...] | None:
        """Return the names of channels as a spec has them: `None` if they are all that the graph has."""
        return None if names == self.channels.names else names

    @property
    def is_root(self) -> bool:
        """Whether the state is one value: the channel `ROOT` is the only one."""
        return self.channels.names == (ROOT,)

    @cached_property
    def any_codec(self) -> TaggedCodec:
        """Encodes values of which no type is declared: JSON data, messages, and instances of the classes mentioned."""
        return TaggedCodec(classes_in(*(each.declared for each in self._classes)))

    def add(self, declared: Any) -> None:
        """Add the class of what some nodes or routers get. Its keys become channels.

        Raises:
            GraphDefinitionError: a key has another reducer than the same key of a class before it.
        """
        self._added(declared)

    def node_state(self, values: Values, declared: Any = None) -> Any:
        """Return the state as nodes and routers get it: a dict, an instance of their class, or the one value.

        Args:
            values: the values of channels. Those that the class does not declare are left out.
            declared: the class that the node or router takes; the state's by default.

        Raises:
            InvalidUpdateError: the class requires a channel that has no value on this thread.
        """
        wanted = self._state if declared is None else self._added(declared)
        try:
            return wanted.instance(values)
        except (TypeError, ValidationError) as error:
            missing = [name for name in wanted.annotations if name not in values]
            if not missing:
                raise
            raise InvalidUpdateError(
                f"{wanted.name} cannot be made for a node: {first_line(error)}. Without a value on this "
                f"thread: {', '.join(map(repr, missing))}. Write it by update_state or as input, or declare a default.",
                channel=missing[0],
            ) from error

    def as_mapping(self, value: Any) -> Mapping[str, Any] | None:
        """Return the channels that a mapping, or an instance of a class with fields, sets; `None` for other values.

        Of an instance, fields that are no channels are left out. In a state of one value, any value sets that one.
        """
        if self.is_root:
            return {ROOT: unwrapped(value)}
        if isinstance(value, Mapping):
            return value
        attributes = {name: item for name, item in attributes_of(value) or () if name in self.channels}
        return attributes if attributes or any(type(value) is each.declared for each in self._classes) else None

    def readable(self, encoded: Values, stamps: Mapping[str, str] | None) -> tuple[dict[str, Any], list[str]]:
        """Return the values of a checkpoint for a reader, and why some of them stay JSON data."""
        return self.channels.readable(encoded, stamps)

    def readable_write(self, name: str, encoded: Any, stamp: str | None) -> Any:
        """Return what a node wrote to a channel for a reader; JSON data if it does not come back unchanged."""
        return self.channels.readable_write(name, encoded, stamp)

    def encode_input(self, graph: str, value: Any) -> dict[str, Any]:
        """Return a caller's input as JSON data. Values are coerced to the declared types where pydantic can.

        Keys of the state that the input's class does not declare are left out.

        Raises:
            InvalidInputError: the input is not a mapping, or names the key that is unknown or does not fit.
        """
        return self._encode(graph, value, self.input_names)

    def encode_update(self, graph: str, value: Any) -> dict[str, Any]:
        """Return the values of an update by hand, which may set any channel. Otherwise like `encode_input`."""
        return self._encode(graph, value, self.channels.names)

    def _encode(self, graph: str, value: Any, names: tuple[str, ...]) -> dict[str, Any]:
        input_data = self.as_mapping(value)
        if input_data is None:
            raise InvalidInputError(
                f"The input of graph {graph!r} must be a mapping of its state's keys "
                f"({', '.join(map(repr, names))}), or None to resume; got {type_name(value)}.",
                graph=graph,
            )
        encoded = {}
        for key, item in input_data.items():
            channel = self._channel_of(graph, key)
            if key not in names:
                continue
            try:
                encoded[key] = channel.encode_write(channel.coerce_write(item))
            except InvalidUpdateError as error:
                raise self._does_not_fit(graph, key, item, str(error.__cause__ or error)) from error
            except Exception as error:  # pydantic's, or whatever a validator of the graph's author raises
                try:  # a channel may accept JSON data that its type does not
                    encoded[key] = channel.encode_write(item)
                except InvalidUpdateError:
                    raise self._does_not_fit(graph, key, item, first_line(error)) from error
        return encoded

    def check_input(self, graph: str, encoded: Any, *, exact: bool = False) -> dict[str, Any]:
        """Return an input, or an update, that is JSON data already, coerced to the declared types.

        Args:
            graph: the graph's name, for messages.
            encoded: the input, for example from a command line.
            exact: whether other code of the graph has encoded it: then all of it must come back unchanged.

        Raises:
            InvalidInputError: it does not fit, or would not come back unchanged.
        """
        if self.is_root:
            encoded = wrapped(encoded)
        if not isinstance(encoded, Mapping):
            raise InvalidInputError(
                f"The input of graph {graph!r} must be a JSON object with its state's keys "
                f"({', '.join(map(repr, self.channels.names))}), or null to resume; got {type_name(encoded)}.",
                graph=graph,
            )
        checked = {}
        for key, item in encoded.items():
            channel = self._channel_of(graph, key)
            try:
                checked[key] = channel.encode_write(channel.decode_write(item))
            except Exception as error:
                raise self._does_not_fit(graph, key, item, first_line(error)) from error
            if exact and (loss := describe_loss(item, checked[key])) is not None:
                reason = f"other code encoded it, and {loss}. Send it with the code that the workers have"
                raise self._does_not_fit(graph, key, item, reason)
        return checked

    def _added(self, declared: Any) -> StateClass:
        """Return a class of the schema, after its keys have become channels."""
        for known in self._classes:
            if known.declared is declared or known.declared == declared:
                return known
        added = StateClass(declared)
        classes = classes_in(*(each.declared for each in self._classes), declared)
        made = [make_channel(name, hint, classes) for name, hint in added.annotations.items()]
        for channel in made:
            if channel.name in self.channels and not _may_share(self.channels[channel.name], channel):
                raise GraphDefinitionError(
                    f"Key {channel.name!r} has another reducer in {added.name} than in a class before it. Declare it "
                    "with one reducer; a class that only reads the key may leave the reducer out.",
                    key=channel.name,
                )
        self.channels = Channels([*self.channels, *(channel for channel in made if channel.name not in self.channels)])
        self._classes.append(added)
        self.__dict__.pop("any_codec", None)  # the class is to be among those that it knows
        return added

    def _channel_of(self, graph: str, key: Any) -> Channel:
        if key not in self.channels:
            raise InvalidInputError(
                f"The input of graph {graph!r} has a key {key!r} that its state does not declare."
                f"{suggest(str(key), self.channels.names)}",
                graph=graph,
                key=key,
            )
        return self.channels[key]

    def _does_not_fit(self, graph: str, key: str, item: Any, reason: str) -> InvalidInputError:
        annotation = type_text(self.channels[key].write_codec.annotation)
        return InvalidInputError(
            f"The input of graph {graph!r} does not fit its state: {key!r} is declared "
            f"{annotation}, got {type_name(item)}: {reason}.",
            graph=graph,
            key=key,
        )


def _may_share(first: Channel, other: Channel) -> bool:
    """Return whether a key that two classes declare is one channel: the later class has no reducer, or the same one.

    As in LangGraph, a ``lambda`` is taken for the same as any reducer: its source line makes another one each time.
    """
    if other.reducer is None or other.reducer is first.reducer:
        return True
    names = [getattr(reducer, "__name__", "") for reducer in (first.reducer, other.reducer) if reducer is not None]
    return len(names) == 2 and "<lambda>" in names
