"""Values without a declared type. They must be JSON data already, because nothing says how to restore anything else."""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json, to_json

from stepgraph.serde.equality import describe_difference, same
from stepgraph.serde.error_text import first_line, type_name
from stepgraph.serde.formats import Data
from stepgraph.serde.sizes import TOO_DEEP, is_too_deep


class RoundTripError(ValueError):
    """A value cannot become JSON, or would come back as another value. The message says which, and why."""


def as_json(value: Any) -> Any:
    """Return a copy of a value that is JSON data.

    Raises:
        RoundTripError: the value is not JSON data; a tuple or a date, for example.
    """
    try:
        encoded = from_json(to_json(value, inf_nan_mode="strings"))
    except Exception as error:  # pydantic's, or whatever the value's own methods raise
        raise RoundTripError(first_line(error)) from error
    if is_too_deep(encoded):
        raise RoundTripError(TOO_DEEP)
    if not same(value, encoded):
        raise RoundTripError(f"{type_name(value)} would come back as {describe_difference(value, encoded)}")
    return encoded


def json_size(data: Any) -> int:
    """Return the bytes of JSON text that JSON data takes, a model without the fields that have their default."""
    return len(data.to_json_text() if isinstance(data, Data) else to_json(data))
