"""Values of one declared type, to JSON data and back.

Owns the round trip: a pydantic `TypeAdapter` made from the annotation, and the proof that what comes back is what was
sent. Refuses to know channels and graphs.

Three rules hold for the JSON data:

- It is strict JSON. NaN and infinity are strings where a float is declared, and refused everywhere else.
- Equal values give equal JSON data, so the members of a set are sorted.
- A date and time keeps its offset from UTC, not the name of its time zone.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from contextlib import suppress
from typing import Any

from pydantic import BaseModel, ConfigDict, RootModel, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json
from typing_extensions import TypeAliasType

from stepgraph.serde.core_schema import NOT_DATA, is_json, is_plain_list, mentions_set, schema_kind
from stepgraph.serde.equality import describe_difference, same
from stepgraph.serde.error_text import first_line, type_name
from stepgraph.serde.plain_json import RoundTripError

TYPE_ADAPTER_CONFIG = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="strings")


class TypeCodec:
    """Encodes and decodes values of one type.

    Raises:
        RoundTripError: the type is not data; a callable, for example.
        PydanticUserError, PydanticUndefinedAnnotation, SchemaError: pydantic has no schema for the type.
    """

    def __init__(self, annotation: Any) -> None:
        self.annotation = annotation
        # Behind an alias, a dataclass or a TypedDict takes the config like any type; a model always brings its own.
        alias = TypeAliasType("alias", annotation)
        self._adapter: TypeAdapter[Any] = TypeAdapter(alias, config=TYPE_ADAPTER_CONFIG)
        if not self._adapter.pydantic_complete:
            self._adapter.rebuild()
        kind = schema_kind(self._adapter.core_schema)
        if kind in NOT_DATA:
            raise RoundTripError(f"it stands for {NOT_DATA[kind]}")
        self._has_sets = mentions_set(self._adapter.core_schema)
        self.concatenates = is_plain_list(self._adapter.core_schema)
        """Whether any concatenation and any slice of lists of the type is a list of the type."""
        self._is_json = is_json(self._adapter.core_schema)

    def encode(self, value: Any) -> Any:
        """Return JSON data for any value, after checking that it comes back unchanged.

        Raises:
            RoundTripError: decoding the data would not give an equal value of the same types.
        """
        return self._round_trip(value)[0]

    def round_trip(self, value: Any) -> Any:
        """Return the equal value that another process would decode. Raises like `encode`."""
        return self._round_trip(value)[1]

    def dump(self, value: Any) -> Any:
        """Return JSON data for a value that is known to be of the type."""
        return self._serialize(value)[0]

    def text(self, value: Any) -> bytes:
        """Return JSON text for a value that is known to be of the type."""
        return to_json(value) if self._is_json else self._serialize(value)[1]

    def copy(self, value: Any) -> Any:
        """Return a copy that shares nothing mutable with a value that is known to be of the type."""
        return self.decode(value) if self._is_json else self.decode_text(self._serialize(value)[1])

    def decode(self, encoded: Any) -> Any:
        """Return a new value from JSON data. Raises pydantic's `ValidationError` if the data does not fit the type."""
        if self._is_json:  # also checks and copies, and is faster than going through text
            with suppress(ValidationError):
                return self._adapter.validate_python(encoded, strict=True)
        return self.decode_text(to_json(encoded))

    def decode_text(self, text: bytes) -> Any:
        """Return a new value from JSON text. Raises pydantic's `ValidationError` if the text does not fit the type."""
        return self._adapter.validate_json(text)

    def coerce(self, value: Any) -> Any:
        """Return a value converted to the type: a model from ``{"title": "x"}``, for example.

        Raises pydantic's `ValidationError` if the value does not fit the type.
        """
        return self._adapter.validate_python(value)

    def _round_trip(self, value: Any) -> tuple[Any, Any]:
        """Return JSON data for a value, and the value that decoding the data gives."""
        if self._is_json:
            with suppress(Exception):  # the slow path below finds the same problem, and says what and where it is
                plain = self._adapter.validate_python(value, strict=True)
                if same(value, plain):
                    to_json(plain)  # raises for a str with surrogates, which is not valid UTF-8
                    return plain, plain
        encoded, text = self._serialize(value)
        try:
            decoded = self._adapter.validate_json(text)
        except Exception as error:  # pydantic's, or whatever a validator of the user's raises
            raise RoundTripError(first_line(error)) from error
        if not same(value, decoded):
            raise RoundTripError(f"{type_name(value)} would come back as {describe_difference(value, decoded)}")
        return encoded, decoded

    def _serialize(self, value: Any) -> tuple[Any, bytes]:
        """Return a value as JSON data and as JSON text."""
        try:
            encoded = self._adapter.dump_python(value, mode="json", warnings="error", round_trip=True, by_alias=True)
            if self._has_sets:
                encoded = _with_sorted_sets(value, encoded)
            text = to_json(encoded)
            if b"NaN" in text or b"Infinity" in text:
                text = to_json(encoded, inf_nan_mode="strings")
                encoded = from_json(text)
        except Exception as error:  # pydantic's, or whatever a serializer of the user's raises
            raise RoundTripError(first_line(error)) from error
        return encoded, text


def _with_sorted_sets(value: Any, encoded: Any) -> Any:
    """Return JSON data with the members of sets sorted. The order of a Python set differs from process to process.

    Args:
        value: the value that was encoded: it tells which lists in the JSON data were sets.
        encoded: the JSON data.
    """
    if isinstance(value, RootModel):
        return _with_sorted_sets(value.root, encoded)
    if isinstance(encoded, list) and isinstance(value, set | frozenset):
        return sorted(map(_with_sorted_sets, value, encoded), key=to_json)
    if isinstance(encoded, list) and isinstance(value, list | tuple | deque):
        return list(map(_with_sorted_sets, value, encoded))
    if isinstance(encoded, dict):
        if isinstance(value, BaseModel):
            value = {**{name: vars(value).get(name) for name in type(value).model_fields}, **(value.model_extra or {})}
        elif dataclasses.is_dataclass(value):
            value = {item.name: getattr(value, item.name, None) for item in dataclasses.fields(value)}
        if isinstance(value, dict) and len(value) == len(encoded):
            parts = value.values() if value.keys() != encoded.keys() else map(value.get, encoded)
            return {key: _with_sorted_sets(part, encoded[key]) for key, part in zip(encoded, parts, strict=True)}
    return encoded
