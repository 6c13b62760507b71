"""Values that say their class: JSON data in which an object that JSON does not have carries a tag.

Owns the form of the data, and the proof that a value comes back as what it was. Which classes may occur is an
allow-list: what every codec knows (`stepgraph.serde.tagged_kinds`, `stepgraph.serde.langchain_kinds`) and the classes
that the author of a graph has named. Decoding never imports what a payload names.

JSON data stays as it is. Everything else is a mapping with the key ``$type``:

- ``{"$type": "tuple", "items": [1, 2]}``, ``{"$type": "uuid", "value": "..."}``: Python's own values;
- ``{"$type": "message", "type": "ai", "content": "hi", "id": "1"}``: a message, as the fold ``messages@1`` reads it;
- ``{"$type": "agent.Plan", "steps": []}``: a class that the author named, by its module's last name and its own;
- ``{"$type": "dict", "items": [[1, "a"]]}``: a mapping whose keys are not all texts, or one with the key ``$type``. So
  a mapping of the user's is never taken for a tag.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic_core import from_json, to_json

from stepgraph.serde.class_kinds import kinds_of
from stepgraph.serde.equality import describe_difference, describe_loss, is_text_accessor, same
from stepgraph.serde.error_text import first_line, type_name
from stepgraph.serde.langchain_kinds import langchain_kind, langchain_kind_of
from stepgraph.serde.plain_json import RoundTripError
from stepgraph.serde.tagged_kinds import BUILT_IN_KINDS, TAG, Kind

MAX_BITS: Final = 14_280
"""Bits of an integer of at most 4,299 digits. JSON parsers refuse integers of more than 4,300."""

_PLAIN_MAPPING: Final = "dict"
_KINDS_BY_TAG: Final[Mapping[str, Kind]] = {kind.tag: kind for kind in BUILT_IN_KINDS.values()}


class TaggedCodec:
    """Encodes and decodes values whose type nothing declares. It has the methods of `TypeCodec`.

    Args:
        classes: dataclasses, pydantic models, enums, named tuples and classes with ``__slots__`` that may occur.
        plain_kind: `TypeCodec.plain_kind` of the values, ``"list"`` for example, if each of them is of that class.
    """

    annotation: Any = Any

    def __init__(self, classes: Iterable[type] = (), *, plain_kind: str = "") -> None:
        self._kinds: dict[type, Kind] = {**BUILT_IN_KINDS, **kinds_of(classes)}
        self._by_tag: dict[str, Kind] = {**_KINDS_BY_TAG, **{kind.tag: kind for kind in self._kinds.values()}}
        self.plain_kind = plain_kind
        self._class_name = plain_kind

    def fingerprint(self) -> str:
        """Return a text that is the same wherever the same classes with the same fields may occur."""
        own = sorted(kind.fingerprint for tag, kind in self._by_tag.items() if tag not in _KINDS_BY_TAG)
        return to_json(["tagged@1", self.plain_kind, *own]).decode()

    def encode(self, value: Any) -> Any:
        """Return JSON data for any value, after checking that it comes back unchanged.

        Raises:
            RoundTripError: a class in the value is not allowed, or decoding the data would not give an equal value.
        """
        data = self.dump(value)
        try:
            text = to_json(data)  # raises for a str with surrogates, which is not valid UTF-8
        except Exception as error:
            raise RoundTripError(first_line(error)) from error
        if may_have_tags(text):  # what has no tag is JSON data, and equal to its copy
            decoded = self.decode_text(text)
            if not same(value, decoded):
                raise RoundTripError(f"{type_name(value)} would come back as {describe_difference(value, decoded)}")
        return data

    def dump(self, value: Any) -> Any:
        """Return JSON data for a value that is known to come back unchanged. Raises `RoundTripError` like `encode`."""
        if self._class_name and type(value).__name__ != self._class_name:
            raise RoundTripError(f"it has to be a {self._class_name}, not a {type_name(value)}")
        try:
            return self._dump(value)
        except RoundTripError:
            raise
        except RecursionError as error:
            raise RoundTripError(f"{type_name(value)} contains itself, or is nested too deep") from error
        except Exception as error:  # whatever the value's own methods raise
            raise RoundTripError(first_line(error)) from error

    def decode(self, encoded: Any) -> Any:
        """Return a new value from JSON data.

        Raises:
            RoundTripError: a tag is unknown here, or its data does not fit it.
        """
        try:
            return self._load(encoded)
        except RoundTripError:
            raise
        except Exception as error:
            raise RoundTripError(f"its data does not fit its tag: {type_name(error)}: {first_line(error)}") from error

    def decode_text(self, text: bytes) -> Any:
        """Return a new value from JSON text. Raises `RoundTripError` like `decode`."""
        data = from_json(text)
        return self.decode(data) if may_have_tags(text) else data

    def coerce(self, value: Any) -> Any:
        """Return the value itself: no type is declared that it could be converted to."""
        return value

    def prove(self, encoded: Any) -> Any:
        """Return a new value from JSON data that other code may have written.

        Raises:
            RoundTripError: the data does not come back unchanged. Fields that a class has in addition may come with
                their defaults.
        """
        value = self.decode(encoded)
        if (lost := describe_loss(encoded, self.dump(value))) is not None:
            raise RoundTripError(lost)
        return value

    def _dump(self, value: Any) -> Any:
        cls: Any = type(value)
        if cls is str or cls is bool or value is None:
            return value
        if cls is int:
            if value.bit_length() > MAX_BITS:
                raise RoundTripError("an integer has more than 4,299 digits")
            return value
        if cls is list:
            return [self._dump(item) for item in value]
        if cls is dict:
            if TAG in value or any(type(key) is not str for key in value):
                items = [[self._dump(key), self._dump(item)] for key, item in value.items()]
                return {TAG: _PLAIN_MAPPING, "items": items}
            return {key: self._dump(item) for key, item in value.items()}
        if cls is float and math.isfinite(value):
            return value
        if isinstance(value, str) and is_text_accessor(cls):
            return str.__str__(value)
        kind = self._kinds.get(cls) or langchain_kind_of(cls)
        if kind is None:
            raise RoundTripError(
                f"{type_name(value)} is not among the classes that may travel. Mention the class in an annotation of "
                "the state, or name it in adopt(types=[...])"
            )
        return {TAG: kind.tag, **kind.dump(value, self._dump)}

    def _load(self, data: Any) -> Any:
        cls = type(data)
        if cls is list:
            return [item if type(item) is str else self._load(item) for item in data]
        if cls is not dict:
            return data
        if TAG not in data:
            return {key: item if type(item) is str else self._load(item) for key, item in data.items()}
        tag = data[TAG]
        if tag == _PLAIN_MAPPING:
            return {self._load(key): self._load(item) for key, item in data["items"]}
        fields = dict(data)
        del fields[TAG]
        kind = self._by_tag.get(tag) or langchain_kind(tag, fields)
        if kind is None:
            raise RoundTripError(
                f"its tag {tag!r} names no class that this code allows. Mention the class in an annotation of the "
                "state, or name it in adopt(types=[...])"
            )
        return kind.load(fields, self._load)


def may_have_tags(text: bytes) -> bool:
    """Return whether JSON text may have a tag, whose key may also be written with an escape sequence."""
    return b'"$type"' in text or b"\\u00" in text
