"""The classes that the annotations of a graph mention."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from typing_extensions import TypeAliasType, is_typeddict

from stepgraph.serde.class_kinds import is_named_tuple
from stepgraph.serde.stable_name import stable_name

_NOT_OF_USERS = ("enum", "pydantic.", "langchain_core.")
"""Modules whose classes need no mention: base classes, and what every codec knows."""


def classes_in(*annotations: Any) -> tuple[type, ...]:
    """Return the dataclasses, models, enums and named tuples that annotations mention, at any depth.

    Example: of ``dict[str, list[Plan] | None]``, the class ``Plan`` and those in the annotations of its fields.
    """
    found: dict[type, None] = {}
    seen: dict[int, Any] = {}  # holds what it has seen: the id of an object that is gone may be another's
    waiting = list(annotations)
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen[id(part)] = part
        if not isinstance(part, type) or get_origin(part) is not None:
            waiting += _parts(part)
        elif is_typeddict(part):
            waiting += _hints(part).values()
        elif _can_travel(part):
            found[part] = None
            waiting += _hints(part).values()
    return tuple(sorted(found, key=stable_name))


def _can_travel(cls: type) -> bool:
    if f"{cls.__module__}.".startswith(_NOT_OF_USERS):
        return False
    return issubclass(cls, enum.Enum | BaseModel) or dataclasses.is_dataclass(cls) or is_named_tuple(cls)


def _hints(cls: type) -> Mapping[str, Any]:
    try:
        return get_type_hints(cls, include_extras=True)
    except Exception:  # an annotation's names cannot be resolved here
        return {}


def _parts(annotation: Any) -> Iterator[Any]:
    """Return what a generic type, a union, an ``Annotated`` or an alias is made of."""
    if isinstance(annotation, TypeAliasType):
        yield annotation.__value__
    yield from get_args(annotation)
    if (origin := get_origin(annotation)) is not None:
        yield origin
