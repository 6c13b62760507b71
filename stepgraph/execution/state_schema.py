"""A graph's state schema: the class that its author declared, as channels.

Owns the reading of that class (`TypedDict`, dataclass or pydantic model), the validation of inputs against it, and the
object that nodes get as their state. What a channel does with a write is the business of
`stepgraph.execution.channels`.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Mapping
from typing import Any, NotRequired, Required, TypeGuard, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ValidationError
from typing_extensions import ReadOnly, is_typeddict

from stepgraph.errors import GraphDefinitionError, InvalidInputError, InvalidUpdateError, suggest
from stepgraph.execution.channels import Channels, Values, make_channel
from stepgraph.serde.equality import describe_loss
from stepgraph.serde.error_text import first_line, type_name, type_text

_QUALIFIERS = (Required, NotRequired, ReadOnly, typing.Required, typing.NotRequired)


class StateSchema:
    """The declared state class with its channels."""

    def __init__(self, declared: type) -> None:
        self.declared = declared
        self.channels = Channels(make_channel(name, hint) for name, hint in _annotations(declared).items())
        self._make_node_state: Callable[[dict[str, Any]], Any] = _node_state_factory(declared)

    def node_state(self, values: Values) -> Any:
        """Return the state as nodes and routers get it: a dict, or an instance of the declared dataclass or model.

        Raises:
            InvalidUpdateError: the class requires a channel that has no value on this thread.
        """
        try:
            return self._make_node_state({name: values[name] for name in self.channels.names if name in values})
        except (TypeError, ValidationError) as error:
            missing = [name for name in self.channels.names if name not in values]
            if not missing:
                raise
            raise InvalidUpdateError(
                f"{self.declared.__qualname__} cannot be made for a node: {first_line(error)}. Without a value on this "
                f"thread: {', '.join(map(repr, missing))}. Write it by update_state or as input, or declare a default.",
                channel=missing[0],
            ) from error

    def as_mapping(self, value: Any) -> Mapping[str, Any] | None:
        """Return the channels that a mapping, or an instance of the state class, sets; `None` for other values."""
        if isinstance(value, Mapping):
            return value
        if is_typeddict(self.declared) or not isinstance(value, self.declared):
            return None
        if isinstance(value, BaseModel):
            return {name: getattr(value, name) for name in self.channels.names if not _is_unset(value, name)}
        return {name: getattr(value, name) for name in self.channels.names}

    def encode_input(self, graph: str, value: Any) -> dict[str, Any]:
        """Return a caller's input as JSON data. Values are coerced to the declared types where pydantic can.

        Raises:
            InvalidInputError: the input is not a mapping, or names the key that is unknown or does not fit.
        """
        input_data = self.as_mapping(value)
        if input_data is None:
            raise InvalidInputError(
                f"The input of graph {graph!r} must be a mapping of its state's keys "
                f"({', '.join(map(repr, self.channels.names))}), or None to resume; got {type_name(value)}.",
                graph=graph,
            )
        encoded = {}
        for key, item in input_data.items():
            channel = self._channel_of(graph, key)
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
        """Return an input that is JSON data already, coerced to the declared types.

        Args:
            graph: the graph's name, for messages.
            encoded: the input, for example from a command line.
            exact: whether other code of the graph has encoded it: then all of it must come back unchanged.

        Raises:
            InvalidInputError: it does not fit, or would not come back unchanged.
        """
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

    def _channel_of(self, graph: str, key: Any) -> Any:
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


def _annotations(declared: Any) -> dict[str, Any]:
    """Return the type annotation of each key of a state class; raise `GraphDefinitionError` if it cannot be a state."""
    if not isinstance(declared, type) or not (
        is_typeddict(declared) or dataclasses.is_dataclass(declared) or _is_model(declared)
    ):
        raise GraphDefinitionError(
            f"StateGraph takes a TypedDict, a dataclass or a pydantic model as its state; got {declared!r}.",
            state=repr(declared),
        )
    try:
        hints = get_type_hints(declared, include_extras=True)
    except Exception as error:  # evaluating an annotation can raise anything
        raise GraphDefinitionError(
            f"The state {declared.__qualname__} has an annotation that cannot be resolved: {first_line(error)}. "
            "Define the type at module level, above the state.",
            state=declared.__qualname__,
        ) from error
    if _is_model(declared):
        hints = {name: hints[name] for name in declared.model_fields}
    elif dataclasses.is_dataclass(declared):
        hints = {item.name: hints[item.name] for item in dataclasses.fields(declared) if item.init}
    if not hints:
        raise GraphDefinitionError(f"The state {declared.__qualname__} declares no keys.", state=declared.__qualname__)
    return {name: _without_qualifiers(hint) for name, hint in hints.items()}


def _without_qualifiers(hint: Any) -> Any:
    while get_origin(hint) in _QUALIFIERS:
        hint = get_args(hint)[0]
    return hint


def _is_model(declared: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(declared, type) and issubclass(declared, BaseModel)


def _is_unset(value: BaseModel, name: str) -> bool:
    """Return whether a model has no value for a key: it was not set, and its default is `None`."""
    if name in value.model_fields_set or getattr(value, name) is not None:
        return False
    return type(value).model_fields[name].default is None


def _node_state_factory(declared: Any) -> Callable[[dict[str, Any]], Any]:
    """Return a function that makes an instance of the state class from values by channel."""
    if _is_model(declared):
        model = declared
        aliases = {name: field.validation_alias for name, field in model.model_fields.items()}
        input_names = {name: alias if isinstance(alias, str) else name for name, alias in aliases.items()}
        return lambda values: model.model_validate({input_names[name]: value for name, value in values.items()})
    if dataclasses.is_dataclass(declared):
        make_instance = typing.cast(Callable[..., Any], declared)
        return lambda values: make_instance(**values)
    return lambda values: values
