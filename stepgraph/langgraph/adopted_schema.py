"""The state of an adopted graph: LangGraph's rules for inputs, in the shape that a registry has its state in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from stepgraph.errors import InvalidInputError, InvalidUpdateError
from stepgraph.execution.channels import Channel, Channels, Values
from stepgraph.execution.context_schema import ContextSchema
from stepgraph.execution.state_schema import StateSchema
from stepgraph.protocol.root_value import unwrapped, wrapped
from stepgraph.serde.equality import describe_loss
from stepgraph.serde.error_text import first_line, type_name
from stepgraph.serde.tagged_values import TaggedCodec

WritesOf = Callable[[Any], Mapping[str, Any]]
"""Turns an input or an update into values by channel, as LangGraph does. Raises for what LangGraph refuses."""


class AdoptedSchema(StateSchema):
    """The state of an adopted graph.

    Args:
        declared: the class that the graph's author declared.
        channels: its channels.
        input_class: the class of an input.
        output_class: the class of a result.
        input_names: the channels that an input may set.
        output_names: the channels that a result shows.
        writes_of: LangGraph's own reading of an update.
        codec: encodes values of which no type is declared.
        context_schema: the class of the context, if the graph declares one.
    """

    def __init__(
        self,
        declared: Any,
        channels: Iterable[Channel],
        *,
        input_class: Any,
        output_class: Any,
        input_names: Sequence[str],
        output_names: Sequence[str],
        writes_of: WritesOf,
        codec: TaggedCodec,
        context_schema: Any,
    ) -> None:
        self.declared = declared
        self.context = ContextSchema(context_schema)
        self._codec = codec
        self.channels = Channels(channels)
        self.input_class, self.output_class = input_class, output_class
        self._input_names = tuple(input_names)
        self._output_names = tuple(output_names)
        self._writes_of = writes_of

    @property
    def input_names(self) -> tuple[str, ...]:
        """The channels that an input may set, in order."""
        return self._input_names

    @property
    def output_names(self) -> tuple[str, ...]:
        """The channels that a result shows, in order."""
        return self._output_names

    @cached_property
    def any_codec(self) -> TaggedCodec:
        """Encodes values of which no type is declared."""
        return self._codec

    def readable(self, encoded: Values, stamps: Mapping[str, str] | None) -> tuple[dict[str, Any], list[str]]:
        """Return the values of a checkpoint for a reader: without those that LangGraph keeps in no checkpoint."""
        untracked = [channel.name for channel in self.channels if channel.spec.untracked]
        tracked = {name: value for name, value in encoded.items() if name not in untracked}
        return super().readable(tracked, stamps)

    def _encode(self, graph: str, value: Any, names: tuple[str, ...]) -> dict[str, Any]:
        """Return an input or an update as JSON data. Keys that the state does not have are ignored, as LangGraph does.

        Raises:
            InvalidInputError: LangGraph refuses the input, or a value of it cannot travel between processes.
        """
        try:
            writes = self._writes_of(value)
        except Exception as error:  # LangGraph's, or whatever the value's own methods raise
            raise InvalidInputError(
                f"The input of graph {graph!r} is refused by LangGraph: {type_name(error)}: {first_line(error)}.",
                graph=graph,
            ) from error
        encoded = {}
        for key, item in writes.items():
            if key not in names:
                continue
            try:
                encoded[key] = self.channels[key].encode_write(item)
            except InvalidUpdateError as error:
                raise self._refused(graph, key, error.message) from error
            except Exception as error:  # LangChain's, for what is no message
                raise self._refused(graph, key, f"{type_name(error)}: {first_line(error)}.") from error
        return encoded

    def check_input(self, graph: str, encoded: Any, *, exact: bool = False) -> dict[str, Any]:
        """Return an input that is JSON data already, as `encode_input` makes it.

        Args:
            graph: the graph's name, for messages.
            encoded: the input, for example from a command line.
            exact: whether other code of the graph has encoded it: then all of it must come back unchanged.

        Raises:
            InvalidInputError: it does not fit, or would not come back unchanged.
        """
        try:
            value = unwrapped(self._decoded(wrapped(encoded) if self.is_root else encoded))
        except Exception as error:  # whatever an allowed class raises for the data
            raise InvalidInputError(
                f"The input of graph {graph!r} does not fit its state: {first_line(error)}.", graph=graph
            ) from error
        checked = self.encode_update(graph, value)
        if exact and (loss := describe_loss(encoded, checked)) is not None:
            raise InvalidInputError(
                f"The input of graph {graph!r} was encoded by other code: {loss}. Send it with the code that the "
                "workers have.",
                graph=graph,
            )
        return checked

    def _decoded(self, encoded: Any) -> Any:
        if not isinstance(encoded, Mapping):
            return encoded
        known = self.channels
        return {name: known[name].decode_write(item) if name in known else item for name, item in encoded.items()}

    def _refused(self, graph: str, key: str, reason: str) -> InvalidInputError:
        return InvalidInputError(
            f"The input of graph {graph!r} does not fit its state key {key!r}: {reason}", graph=graph, key=key
        )
