"""One class that a graph's author declares for a state, an input, an output or a node's view: its keys and instances.

Owns the reading of a `TypedDict`, a dataclass, a pydantic model, another class with annotations, or a plain type that
stands for a state of one value. What the graph makes of several such classes is the business of
`stepgraph.execution.state_schema`.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NotRequired, Required, TypeGuard, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from typing_extensions import ReadOnly, is_typeddict

from stepgraph.engine.constants import ROOT
from stepgraph.errors import GraphDefinitionError
from stepgraph.serde.error_text import first_line, type_text

_QUALIFIERS = (Required, NotRequired, ReadOnly, typing.Required, typing.NotRequired)


class StateClass:
    """A declared class: the type of each of its keys, and how nodes get an instance of it."""

    def __init__(self, declared: Any) -> None:
        self.declared = declared
        self.annotations = _annotations(declared)
        """The type of each key. A state of one value has the key `ROOT`."""
        self._make_instance = _instance_factory(declared)

    @property
    def name(self) -> str:
        """The class as its author calls it."""
        return getattr(self.declared, "__qualname__", None) or type_text(self.declared)

    @property
    def is_root(self) -> bool:
        """Whether the state is one value, not a mapping of keys."""
        return self.annotations.keys() == {ROOT}

    def instance(self, values: Mapping[str, Any]) -> Any:
        """Return what a node gets: an instance of the class, a dict, or the one value. Raises what the class raises."""
        own = {name: values[name] for name in self.annotations if name in values}
        return own.get(ROOT) if self.is_root else self._make_instance(own)


def attributes_of(value: Any) -> Iterator[tuple[str, Any]] | None:
    """Return the attributes that an instance of a class with annotations sets; `None` for other values.

    As in LangGraph, a pydantic model leaves out what was not set and is `None` by default.
    """
    if isinstance(value, BaseModel):
        return ((name, getattr(value, name)) for name in type(value).model_fields if not _is_unset(value, name))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return ((item.name, getattr(value, item.name)) for item in dataclasses.fields(value) if item.init)
    return None


def class_of_parameter(function: Callable[..., Any], parameter: str | None) -> Any:
    """Return the class with which a node or router annotates a parameter, if that is a class with keys."""
    if not inspect.isfunction(function) and not inspect.ismethod(function):
        function = getattr(function, "__call__", function)  # noqa: B004 (the method is wanted, not whether there is one)
        if not inspect.ismethod(function):
            return None
    try:
        hint = get_type_hints(function, include_extras=True).get(parameter or "")
        return hint if isinstance(hint, type) and get_type_hints(hint) else None
    except Exception:  # annotations that cannot be evaluated
        return None


def _annotations(declared: Any) -> dict[str, Any]:
    """Return the type annotation of each key of a state class; raise `GraphDefinitionError` if it cannot be a state."""
    if get_origin(declared) is None and not _is_class_of_values(declared):
        raise GraphDefinitionError(
            "StateGraph takes a TypedDict, a dataclass or a pydantic model as its state, or the type of its one value "
            f"(Annotated[list, operator.add]); got {declared!r}.",
            state=repr(declared),
        )
    if not hasattr(declared, "__annotations__") or get_origin(declared) is not None:
        return {ROOT: declared}
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


def _is_class_of_values(declared: Any) -> bool:
    """Return whether a class has keys, or is a built-in type such as ``list`` or ``str``."""
    if is_typeddict(declared) or _is_model(declared) or dataclasses.is_dataclass(declared):
        return isinstance(declared, type)
    return isinstance(declared, type) and bool(getattr(declared, "__annotations__", True))


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


def _instance_factory(declared: Any) -> Callable[[dict[str, Any]], Any]:
    """Return a function that makes an instance of the state class from values by key."""
    if _is_model(declared):
        model = declared
        aliases = {name: field.validation_alias for name, field in model.model_fields.items()}
        input_names = {name: alias if isinstance(alias, str) else name for name, alias in aliases.items()}
        return lambda values: model.model_validate({input_names[name]: value for name, value in values.items()})
    if dataclasses.is_dataclass(declared):
        make_instance = typing.cast(Callable[..., Any], declared)
        return lambda values: make_instance(**values)
    return lambda values: values
