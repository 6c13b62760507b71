"""Values of no declared type, as plain JSON data."""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json, to_json

from stepgraph.serde.equality import describe_difference, same
from stepgraph.serde.error_text import first_line, type_name


class RoundTripError(ValueError):
    """The value does not survive: the message says what became of it."""


def as_json(value: Any) -> Any:
    """A value of no declared type, if it is JSON already; otherwise `RoundTripError`."""
    try:
        encoded = from_json(to_json(value, inf_nan_mode="strings"))
    except Exception as error:  # pydantic's, or whatever the value's own methods raise
        raise RoundTripError(first_line(error)) from error
    if not same(value, encoded):
        raise RoundTripError(f"{type_name(value)} would come back as {describe_difference(value, encoded)}")
    return encoded


def json_size(encoded: Any) -> int:
    """Bytes of the JSON text."""
    return len(to_json(encoded))
