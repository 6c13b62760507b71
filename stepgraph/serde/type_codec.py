"""Values of one declared type, to JSON data and back.

Owns the round trip: a pydantic `TypeAdapter` made from the annotation, and the proof that what comes back is what was
sent. Knows nothing of channels or graphs.

JSON data is strict JSON: a float that is no number travels as a string where a float is declared, and nowhere else.
Equal values give equal JSON data, so the members of a set are sorted. A moment keeps its offset from UTC, not its
zone's name.
"""

from __future__ import annotations

import dataclasses
import re
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, time
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ConfigDict, RootModel, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json
from typing_extensions import TypeAliasType

type_adapter_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="strings")

_PLAIN = (str, int, bool, type(None), bytes)
_NO_DATA = {
    "callable": "a function",
    "generator": "an iterator, which is used up by reading it",
    "is-instance": "a class without a schema",
    "is-subclass": "a class",
}
"""Kinds of schema that pydantic has for what is no data."""


class RoundTripError(ValueError):
    """The value does not survive: the message says what became of it."""


class TypeCodec:
    """Encodes and decodes values of one type.

    Raises what pydantic raises for a type it has no schema for, and `RoundTripError` for one that is no data.
    """

    def __init__(self, annotation: Any) -> None:
        self.annotation = annotation
        # Behind an alias, a dataclass or a TypedDict takes the config like any type; a model always brings its own.
        named = TypeAliasType("named", annotation)
        self._adapter: TypeAdapter[Any] = TypeAdapter(named, config=type_adapter_config)
        if not self._adapter.pydantic_complete:
            self._adapter.rebuild()
        kind = _kind(self._adapter.core_schema)
        if kind in _NO_DATA:
            raise RoundTripError(f"it stands for {_NO_DATA[kind]}")
        self._has_sets = _mentions_a_set(self._adapter.core_schema)
        self.concatenates = _is_plain_list(self._adapter.core_schema)
        """Two lists of the type, one after the other, are a list of the type, and so is any part of it."""
        self._is_json = _is_json(self._adapter.core_schema)

    def encode(self, value: Any) -> Any:
        """JSON data for the value; `RoundTripError` unless decoding gives an equal value of the same types."""
        return self._proven(value)[0]

    def settle(self, value: Any) -> Any:
        """A new value, equal to this one and as every other process will have it; `RoundTripError` likewise."""
        return self._proven(value)[1]

    def dump(self, value: Any) -> Any:
        """JSON data for a value already known to be of the type."""
        return self._dumped(value)[0]

    def text(self, value: Any) -> bytes:
        """JSON text for a value already known to be of the type."""
        return to_json(value) if self._is_json else self._dumped(value)[1]

    def copy(self, value: Any) -> Any:
        """A new value that shares nothing with this one, which is known to be of the type."""
        return self.decode(value) if self._is_json else self.decode_text(self._dumped(value)[1])

    def decode(self, encoded: Any) -> Any:
        """A new value from JSON data; pydantic's `ValidationError` if it does not fit."""
        if self._is_json:  # the checks and the containers of its own are had without a way through text
            with suppress(ValidationError):
                return self._adapter.validate_python(encoded, strict=True)
        return self.decode_text(to_json(encoded))

    def decode_text(self, text: bytes) -> Any:
        """The same, from JSON text."""
        return self._adapter.validate_json(text)

    def coerce(self, value: Any) -> Any:
        """The value as the type has it (``{"title": "x"}`` for a model, say); `ValidationError` if it does not fit."""
        return self._adapter.validate_python(value)

    def _proven(self, value: Any) -> tuple[Any, Any]:
        if self._is_json:
            with suppress(Exception):  # what it is, and where, is told below
                plain = self._adapter.validate_python(value, strict=True)
                if same(value, plain):
                    to_json(plain)  # not every text can travel
                    return plain, plain
        encoded, text = self._dumped(value)
        try:
            decoded = self._adapter.validate_json(text)
        except Exception as error:  # pydantic's, or whatever a validator of the author's raises
            raise RoundTripError(first_line(error)) from error
        if not same(value, decoded):
            raise RoundTripError(f"{type_name(value)} would come back as {_difference(value, decoded)}")
        return encoded, decoded

    def _dumped(self, value: Any) -> tuple[Any, bytes]:
        try:
            encoded = self._adapter.dump_python(value, mode="json", warnings="error", round_trip=True, by_alias=True)
            if self._has_sets:
                encoded = _in_order(value, encoded)
            text = to_json(encoded)
            if b"NaN" in text or b"Infinity" in text:
                text = to_json(encoded, inf_nan_mode="strings")
                encoded = from_json(text)
        except Exception as error:  # pydantic's, or whatever a serializer of the author's raises
            raise RoundTripError(first_line(error)) from error
        return encoded, text


def as_json(value: Any) -> Any:
    """A value of no declared type, if it is JSON already; otherwise `RoundTripError`."""
    try:
        encoded = from_json(to_json(value, inf_nan_mode="strings"))
    except Exception as error:  # pydantic's, or whatever the value's own methods raise
        raise RoundTripError(first_line(error)) from error
    if not same(value, encoded):
        raise RoundTripError(f"{type_name(value)} would come back as {_difference(value, encoded)}")
    return encoded


def json_size(encoded: Any) -> int:
    """Bytes of the JSON text."""
    return len(to_json(encoded))


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
    parts_of = _parts_of(cls)  # type: ignore[arg-type]  # mypy takes a class for unhashable
    if parts_of is not None:
        parts, others = parts_of(left), parts_of(right)
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
    parts_of = _parts_of(cls)  # type: ignore[arg-type]  # mypy takes a class for unhashable
    if parts_of is not None:
        parts, others = parts_of(left), parts_of(right)
        return len(parts) == len(others) and all(map(identical, parts, others))
    return not isinstance(left, set | frozenset) and same(left, right)


@lru_cache(maxsize=1_000)
def _parts_of(cls: Any) -> Callable[[Any], list[Any]] | None:
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


def type_name(value: Any) -> str:
    """The name of a value's type, with its module unless that is builtins."""
    cls = type(value)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def first_line(error: BaseException) -> str:
    """What an error says, on one line and without a full stop: pydantic's places and reasons, without its links."""
    if isinstance(error, ValidationError):
        found = [
            f"{'.'.join(map(str, item['loc']))}: {item['msg']}" if item["loc"] else item["msg"]
            for item in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
        return "; ".join(found[:3]) + more
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    if lines[0] == "Pydantic serializer warnings:" and len(lines) > 1:
        return _unexpected(lines[1])
    return lines[0].rstrip(".:")


def _unexpected(warning: str) -> str:
    """What a serializer's warning says: which type it expected where."""
    expected = re.search(r"Expected `(.+?)`", warning)
    place = re.search(r"field_name='(.+?)'", warning)
    got = re.search(r"(?:input_type=|but got `)([\w.]+)", warning)
    if expected is None:
        return warning
    return f"expected {expected[1]}" + (f", got {got[1]}" if got else "") + (f" in field {place[1]!r}" if place else "")


def _kind(schema: Any) -> str:
    """What a core schema describes, below what only wraps it."""
    while schema["type"] in ("definitions", "nullable", "default"):
        schema = schema["schema"]
    return str(schema["type"])


def _mentions_a_set(schema: Any) -> bool:
    if isinstance(schema, dict):
        return schema.get("type") in ("set", "frozenset") or any(map(_mentions_a_set, schema.values()))
    return isinstance(schema, list | tuple) and any(map(_mentions_a_set, schema))


def _is_plain_list(schema: Any) -> bool:
    """Whether the items alone decide what is valid, and how it is written."""
    while schema["type"] == "definitions":
        schema = schema["schema"]
    return schema["type"] == "list" and set(schema) <= {"type", "items_schema", "ref", "metadata"}


def _is_json(schema: Any) -> bool:
    """Whether values of the type are their own JSON data, of which only containers can be changed."""
    kind = schema["type"]
    if kind in ("definitions", "nullable"):
        return not schema.get("definitions") and _is_json(schema["schema"])
    if kind == "list":
        return _is_json(schema.get("items_schema", {"type": "any"}))
    if kind == "dict":
        keys, values = schema.get("keys_schema", {"type": "any"}), schema.get("values_schema", {"type": "any"})
        return keys["type"] == "str" and _is_json(values)
    return kind in ("str", "int", "bool", "none") and set(schema) <= {"type", "ref", "metadata"}


def _in_order(value: Any, encoded: Any) -> Any:
    """JSON data with the members of sets sorted: Python's order of them is another one in each process."""
    if isinstance(value, RootModel):
        return _in_order(value.root, encoded)
    if isinstance(encoded, list) and isinstance(value, set | frozenset):
        return sorted(map(_in_order, value, encoded), key=to_json)
    if isinstance(encoded, list) and isinstance(value, list | tuple | deque):
        return list(map(_in_order, value, encoded))
    if isinstance(encoded, dict):
        if isinstance(value, BaseModel):
            value = {**{name: vars(value).get(name) for name in type(value).model_fields}, **(value.model_extra or {})}
        elif dataclasses.is_dataclass(value):
            value = {item.name: getattr(value, item.name, None) for item in dataclasses.fields(value)}
        if isinstance(value, dict) and len(value) == len(encoded):
            parts = value.values() if value.keys() != encoded.keys() else map(value.get, encoded)
            return {key: _in_order(part, encoded[key]) for key, part in zip(encoded, parts, strict=True)}
    return encoded


def _difference(value: Any, other: Any) -> str:
    if type(value) is not type(other):
        return type_name(other)
    cls: Any = type(value)
    parts_of = _parts_of(cls) or (lambda _: [])
    parts, others = parts_of(value), parts_of(other)
    for a, b in zip(parts, others, strict=False) if len(parts) == len(others) else ():
        if not same(a, b):
            return _difference(a, b) if type(a) is type(b) else f"one with {type_name(b)} for {type_name(a)}"
    return "one with other contents"
