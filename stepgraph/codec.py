"""Values of one declared type, to JSON data and back.

Owns the round trip: a pydantic `TypeAdapter` made from the annotation, and the proof that what comes back is what was
sent. Knows nothing of channels or graphs.
"""

from __future__ import annotations

import math
from typing import Any, cast

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, from_json, to_json

type_adapter_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="strings")


class RoundTripError(ValueError):
    """The value does not survive: the message says what became of it."""


class TypeCodec:
    """Encodes and decodes values of one type. Raises what pydantic raises for a type it has no schema for."""

    def __init__(self, annotation: Any) -> None:
        self.annotation = annotation
        try:
            self._adapter: TypeAdapter[Any] = TypeAdapter(annotation, config=type_adapter_config)
        except PydanticUserError as error:
            if error.code != "type-adapter-config-unused":
                raise
            self._adapter = TypeAdapter(annotation)  # a model, dataclass or TypedDict brings its own config

    def encode(self, value: Any) -> Any:
        """JSON data for the value; `RoundTripError` unless decoding gives an equal value of the same types."""
        encoded = self.dump(value)
        try:
            decoded = self.decode(encoded)
        except ValidationError as error:
            raise RoundTripError(first_line(error)) from error
        if not same(value, decoded):
            raise RoundTripError(f"{type_name(value)} would come back as {_difference(value, decoded)}")
        return encoded

    def dump(self, value: Any) -> Any:
        """JSON data for a value already known to be of the type."""
        try:
            return self._adapter.dump_python(value, mode="json", warnings="error", round_trip=True, by_alias=True)
        except (PydanticSerializationError, UnicodeDecodeError) as error:
            raise RoundTripError(first_line(error)) from error

    def decode(self, encoded: Any) -> Any:
        """A new value from JSON data; pydantic's `ValidationError` if it does not fit."""
        return self._adapter.validate_json(to_json(encoded))

    def coerce(self, value: Any) -> Any:
        """The value as the type has it (``{"title": "x"}`` for a model, say); `ValidationError` if it does not fit."""
        return self._adapter.validate_python(value)


def as_json(value: Any) -> Any:
    """A value of no declared type, if it is JSON already; otherwise `RoundTripError`."""
    try:
        encoded = from_json(to_json(value))
    except (PydanticSerializationError, ValueError) as error:
        raise RoundTripError(first_line(error)) from error
    if not same(value, encoded):
        raise RoundTripError(f"{type_name(value)} would come back as {_difference(value, encoded)}")
    return encoded


def json_size(encoded: Any) -> int:
    """Bytes of the JSON text."""
    return len(to_json(encoded))


def same(left: Any, right: Any) -> bool:
    """Equal, and of the same types all the way down; an integer may stand where a float is declared."""
    if type(left) is not type(right):
        return isinstance(left, int) and type(right) is float and not isinstance(left, bool) and left == right
    if isinstance(left, dict):
        return len(left) == len(right) and all(
            same(a, b) and same(left[a], right[b]) for a, b in zip(left, right, strict=True)
        )
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float) and math.isnan(left):
        return math.isnan(right)
    if getattr(type(left), "__eq__") is object.__eq__ and hasattr(left, "__dict__"):  # noqa: B009 (mypy thinks it never is)
        return same(vars(left), vars(right))
    return bool(left == right)


def type_name(value: Any) -> str:
    """The name of a value's type, with its module unless that is builtins."""
    cls = type(value)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def first_line(error: BaseException) -> str:
    """What an error says, on one line: pydantic's places and reasons, without its links."""
    if isinstance(error, ValidationError):
        found = [
            f"{'.'.join(map(str, item['loc']))}: {item['msg']}" if item["loc"] else item["msg"]
            for item in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
        return "; ".join(found[:3]) + more
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _difference(value: Any, other: Any) -> str:
    if type(value) is not type(other):
        return type_name(other)
    pairs: list[tuple[Any, Any]] = []
    if isinstance(value, list | tuple):
        pairs = list(zip(value, other, strict=False))
    elif isinstance(value, dict):
        pairs = list(zip(value.values(), cast(dict[Any, Any], other).values(), strict=False))
    for a, b in pairs:
        if not same(a, b):
            return (
                f"one with {type_name(b)} for {type_name(a)}" if type(a) is not type(b) else "one with other contents"
            )
    return "one with other contents"
