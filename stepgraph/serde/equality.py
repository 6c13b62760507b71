"""Equality of values down to their types, and the sharing of equal items."""

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
    """Equal, and of the same types all the way down; an integer may stand where a float is declared.

    The order of a mapping is no part of it: a `TypedDict` comes back in the order in which it was declared.
    """
    cls = type(left)
    if cls is not type(right):
        return isinstance(left, int) and type(right) is float and not isinstance(left, bool) and left == right
    if left is right:
        return True
    if cls in _PLAIN:
        return bool(left == right)
    if cls is float:
        return bool(left == right or (left != left and right != right))
    if isinstance(left, dict):
        twins = {key: key for key in right}
        return len(left) == len(right) and all(
            key in twins and same(key, twins[key]) and same(item, right[key]) for key, item in left.items()
        )
    take_apart = parts_of(cls)  # type: ignore[arg-type]  # mypy takes a class for unhashable
    if take_apart is not None:
        parts, others = take_apart(left), take_apart(right)
        return len(parts) == len(others) and all(map(same, parts, others))
    if isinstance(left, set | frozenset):
        twins = {item: item for item in right}
        return len(left) == len(right) and all(item in twins and same(item, twins[item]) for item in left)
    if isinstance(left, datetime | time):  # moments in two zones are never equal in the hour that a clock repeats
        return bool(left.isoformat() == right.isoformat())
    return bool(left == right)


def shared(value: Any, before: Any) -> Any:
    """A new value that has in place of its items those of an earlier one, where these are no different.

    Only the items of a list or a mapping are looked at, and `value` itself may be changed.
    """
    if type(value) is list and type(before) is list:
        value[: len(before)] = [old if identical(item, old) else item for item, old in zip(value, before, strict=False)]
    elif type(value) is dict and type(before) is dict:
        for key, item in value.items():
            if key in before and identical(item, before[key]):
                value[key] = before[key]
    return value


def identical(left: Any, right: Any) -> bool:
    """`same`, and with the same JSON text as well."""
    cls = type(left)
    if cls is not type(right):
        return False
    if left is right:
        return True
    if cls in _PLAIN:
        return bool(left == right)
    if cls is float:
        return repr(left) == repr(right)
    take_apart = parts_of(cls)  # type: ignore[arg-type]  # mypy takes a class for unhashable
    if take_apart is not None:
        parts, others = take_apart(left), take_apart(right)
        return len(parts) == len(others) and all(map(identical, parts, others))
    return not isinstance(left, set | frozenset) and same(left, right)


@lru_cache(maxsize=1_000)
def parts_of(cls: Any) -> Callable[[Any], list[Any]] | None:
    """How to take a value of a class apart, in order; `None` where it is to be compared as a whole."""
    if issubclass(cls, dict):
        return lambda value: [*value, *value.values()]
    if issubclass(cls, list | tuple):
        return list
    if issubclass(cls, deque):
        return lambda value: [*value, value.maxlen]
    if issubclass(cls, BaseModel):
        fields = tuple(cls.model_fields)
        beside = ("__pydantic_extra__", "__pydantic_private__")
        return lambda value: [*map(vars(value).get, fields), *(getattr(value, name) for name in beside)]
    if dataclasses.is_dataclass(cls):
        names = tuple(item.name for item in dataclasses.fields(cls))
        return lambda value: [getattr(value, name, dataclasses.MISSING) for name in names]
    if cls.__eq__ is object.__eq__ and cls.__dictoffset__:
        return lambda value: [vars(value)]
    return None


def describe_difference(value: Any, other: Any) -> str:
    if type(value) is not type(other):
        return type_name(other)
    cls: Any = type(value)
    take_apart = parts_of(cls) or (lambda _: [])
    parts, others = take_apart(value), take_apart(other)
    for a, b in zip(parts, others, strict=False) if len(parts) == len(others) else ():
        if not same(a, b):
            return describe_difference(a, b) if type(a) is type(b) else f"one with {type_name(b)} for {type_name(a)}"
    return "one with other contents"
