"""Equality that also compares types, and what differs where two values are not equal.

Python's ``==`` is too lenient for proving a round trip: ``True == 1``, and a `list` subclass equals a `list`.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable
from datetime import datetime, time
from functools import lru_cache
from typing import Any

from pydantic import BaseModel

from stepgraph.serde.error_text import type_name

_PLAIN = (str, int, bool, type(None), bytes)


def same(left: Any, right: Any) -> bool:
    """Return whether two values are equal and have the same types at every level.

    Two differences of type are allowed. ``left`` may be an `int` where ``right`` is an equal `float`, because pydantic
    converts an int where a float is declared. It may be a message's text where ``right`` is the same `str`. The order
    of a mapping's keys does not matter, because pydantic returns a `TypedDict` in the order in which its keys are
    declared.
    """
    cls = type(left)
    if cls is not type(right):
        if type(right) is str and is_text_accessor(cls):
            return bool(left == right)
        return isinstance(left, int) and type(right) is float and not isinstance(left, bool) and left == right
    if left is right:
        return True
    if cls in _PLAIN:
        return bool(left == right)
    if cls is float:
        return bool(left == right or (left != left and right != right))
    if isinstance(left, dict):
        right_keys = {key: key for key in right}
        return len(left) == len(right) and all(
            key in right_keys and same(key, right_keys[key]) and same(item, right[key]) for key, item in left.items()
        )
    split = _splitter_for(cls)  # type: ignore[arg-type]  # mypy takes a class for unhashable
    if split is not None:
        left_parts, right_parts = split(left), split(right)
        return len(left_parts) == len(right_parts) and all(map(same, left_parts, right_parts))
    if isinstance(left, set | frozenset):
        right_items = {item: item for item in right}
        return len(left) == len(right) and all(item in right_items and same(item, right_items[item]) for item in left)
    if isinstance(left, datetime | time):  # in the hour that a clock repeats, == is False between two time zones
        return bool(left.isoformat() == right.isoformat())
    return bool(left == right)


def identical(left: Any, right: Any) -> bool:
    """Return whether two values are the `same` and also have the same JSON text.

    Stricter than `same`: the order of keys and the sign of zero matter, and an int is never identical to a float. Two
    sets count as different unless they are the same object: their members would have to be compared pair by pair.
    """
    cls = type(left)
    if cls is not type(right):
        return False
    if left is right:
        return True
    if cls in _PLAIN:
        return bool(left == right)
    if cls is float:
        return repr(left) == repr(right)
    split = _splitter_for(cls)  # type: ignore[arg-type]  # mypy takes a class for unhashable
    if split is not None:
        left_parts, right_parts = split(left), split(right)
        return len(left_parts) == len(right_parts) and all(map(identical, left_parts, right_parts))
    return not isinstance(left, set | frozenset) and same(left, right)


def is_text_accessor(cls: type) -> bool:
    """Return whether a class is that of a LangChain message's ``text``: a `str` that one could call, formerly."""
    return cls.__name__ == "TextAccessor" and cls.__module__ == "langchain_core.messages.base"


def describe_difference(value: Any, other: Any) -> str:
    """Return what ``other`` is instead of ``value``, to follow "would come back as" in a message.

    Examples: ``"list"``, ``"one with list for tuple"``, ``"one with other contents"``.
    """
    if type(value) is not type(other):
        return type_name(other)
    cls: Any = type(value)
    split = _splitter_for(cls) or (lambda _: [])
    value_parts, other_parts = split(value), split(other)
    for a, b in zip(value_parts, other_parts, strict=False) if len(value_parts) == len(other_parts) else ():
        if not same(a, b):
            return describe_difference(a, b) if type(a) is type(b) else f"one with {type_name(b)} for {type_name(a)}"
    return "one with other contents"


def describe_loss(recorded: Any, again: Any) -> str | None:
    """Return what of recorded JSON data did not come back, and where; `None` if all of it did.

    A mapping may come back with more keys: fields that were added since, with their defaults. An int may come back as
    an equal float.
    """
    if isinstance(recorded, dict) and isinstance(again, dict):
        for name, item in recorded.items():
            if name not in again:
                return f"{name!r} does not come back"
            if (loss := describe_loss(item, again[name])) is not None:
                return f"in {name!r}: {loss}"
        return None
    if isinstance(recorded, list) and isinstance(again, list) and len(recorded) == len(again):
        losses = (describe_loss(item, other) for item, other in zip(recorded, again, strict=True))
        return next((loss for loss in losses if loss is not None), None)
    if same(recorded, again):
        return None
    return f"{_short(recorded)} would come back as {_short(again)}"


def _short(data: Any) -> str:
    text = repr(data)
    return text if len(text) <= 60 else f"{text[:57]}..."


@lru_cache(maxsize=1_000)
def _splitter_for(cls: Any) -> Callable[[Any], list[Any]] | None:
    """Return a function that splits a value of a class into the parts to compare; `None` to compare it as a whole."""
    if issubclass(cls, dict):
        return lambda value: [*value, *value.values()]
    if issubclass(cls, list | tuple):
        return list
    if issubclass(cls, deque):
        return lambda value: [*value, value.maxlen]
    if issubclass(cls, BaseModel):
        fields = tuple(cls.model_fields)
        not_in_fields = ("__pydantic_extra__", "__pydantic_private__")
        return lambda value: [*map(vars(value).get, fields), *(getattr(value, name) for name in not_in_fields)]
    if dataclasses.is_dataclass(cls):
        names = tuple(item.name for item in dataclasses.fields(cls))
        return lambda value: [getattr(value, name, dataclasses.MISSING) for name in names]
    if cls.__eq__ is object.__eq__ and cls.__dictoffset__:
        return lambda value: [vars(value)]
    return None
