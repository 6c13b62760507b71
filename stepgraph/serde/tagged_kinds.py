"""The kinds of values that every codec with tags knows beyond JSON: Python's own.

Owns how each becomes the JSON data beside its tag, and comes back.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from pydantic_core import to_json

TAG: Final = "$type"
"""The key that says what a mapping stands for."""

Convert = Callable[[Any], Any]
"""Converts a part of a value: to JSON data, or back."""


@dataclass(frozen=True)
class Kind:
    """A class of values, by its tag."""

    tag: str
    dump: Callable[[Any, Convert], Mapping[str, Any]]
    """Takes a value and the conversion of its parts; returns the JSON data that stands beside the tag."""
    load: Callable[[dict[str, Any], Convert], Any]
    """Takes that JSON data, which it owns, and the conversion of its parts; returns a new value."""
    fingerprint: str = ""
    """What tells one definition of the class from another: its tag and its fields."""


def _text_kind(tag: str, to_text: Callable[[Any], str], from_text: Callable[[str], Any]) -> Kind:
    """Return the kind of values that are one text."""
    return Kind(tag, lambda value, _: {"value": to_text(value)}, lambda data, _: from_text(data["value"]))


def _items_kind(tag: str, make: Callable[[list[Any]], Any], *, sort: bool) -> Kind:
    """Return the kind of a collection. Members of a set are sorted: their order differs from process to process."""

    def dump(value: Any, part: Convert) -> Mapping[str, Any]:
        items = [part(item) for item in value]
        return {"items": sorted(items, key=to_json) if sort else items}

    return Kind(tag, dump, lambda data, part: make([part(item) for item in data["items"]]))


def _dump_timedelta(value: timedelta, _: Convert) -> Mapping[str, Any]:
    return {"days": value.days, "seconds": value.seconds, "microseconds": value.microseconds}


BUILT_IN_KINDS: Final[Mapping[type, Kind]] = {
    tuple: _items_kind("tuple", tuple, sort=False),
    set: _items_kind("set", set, sort=True),
    frozenset: _items_kind("frozenset", frozenset, sort=True),
    float: _text_kind("float", repr, float),  # NaN and infinity; other floats are JSON
    bytes: _text_kind("bytes", lambda value: base64.b64encode(value).decode(), base64.b64decode),
    datetime: _text_kind("datetime", datetime.isoformat, datetime.fromisoformat),
    date: _text_kind("date", date.isoformat, date.fromisoformat),
    time: _text_kind("time", time.isoformat, time.fromisoformat),
    timedelta: Kind("timedelta", _dump_timedelta, lambda data, _: timedelta(**data)),
    UUID: _text_kind("uuid", str, UUID),
    Decimal: _text_kind("decimal", str, Decimal),
}
"""By class. A value counts if its class is exactly this one."""
