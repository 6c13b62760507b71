"""JSON schemas of a graph's input, output and context, as LangGraph describes them to other programs."""

from __future__ import annotations

import dataclasses
import types
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, RootModel, TypeAdapter, create_model
from pydantic.errors import PydanticUserError
from typing_extensions import TypedDict, is_typeddict

from stepgraph.engine.constants import ROOT
from stepgraph.execution.state_class import StateClass


def schema_name(graph: str, suffix: str) -> str:
    """Return LangGraph's name of a schema: ``ChatInput`` for a graph ``Chat``, ``chat_input`` for ``chat``."""
    return f"{graph}{suffix.title()}" if graph[0].isupper() else f"{graph}_{suffix.lower()}"


def state_json_schema(declared: Any, title: str) -> dict[str, Any]:
    """Return the JSON schema of a state class. ``title`` is that of a schema which has no class of its own name."""
    if (own := _own_schema(declared)) is not None:
        return own
    annotations = {key: _without_reducer(hint) for key, hint in StateClass(declared).annotations.items()}
    if annotations.keys() == {ROOT}:
        return _described(create_model(title, __base__=RootModel[Any], root=(annotations[ROOT], None)))
    fields: dict[str, Any] = {key: (hint, _default(declared, key, hint)) for key, hint in annotations.items()}
    return _described(create_model(title, **fields))


def context_json_schema(declared: Any) -> dict[str, Any] | None:
    """Return the JSON schema of a context's class; `None` without one."""
    if declared is None:
        return None
    own = _own_schema(declared)
    return own if own is not None else TypeAdapter(declared).json_schema()


def _own_schema(declared: Any) -> dict[str, Any] | None:
    """Return the schema of a model or a `TypedDict`; `None` for other classes."""
    if isinstance(declared, type) and issubclass(declared, BaseModel):
        return declared.model_json_schema()
    if not is_typeddict(declared):
        return None
    try:
        return TypeAdapter(declared).json_schema()
    except PydanticUserError:  # a `TypedDict` of Python's own before 3.12
        annotations = get_type_hints(declared, include_extras=True)
        make_class: Any = TypedDict
        twin = make_class(declared.__name__, annotations, total=declared.__total__)
        twin.__module__ = declared.__module__
        return TypeAdapter(twin).json_schema()


def _described(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def _without_reducer(hint: Any) -> Any:
    """Return a channel's type without the reducer beside it."""
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _default(declared: Any, key: str, hint: Any) -> Any:
    """Return the default of a dataclass's field; `None` for what may be `None`; an ellipsis for what is required."""
    for field in dataclasses.fields(declared) if dataclasses.is_dataclass(declared) else ():
        if field.name != key:
            continue
        if field.default is not dataclasses.MISSING:
            return field.default
        if field.default_factory is not dataclasses.MISSING:
            return field.default_factory()
    is_optional = get_origin(hint) in (Union, types.UnionType) and type(None) in get_args(hint)
    return None if is_optional else ...
