"""Values of one declared type, to JSON data and back.

Owns the round trip: a pydantic `TypeAdapter` made from the annotation, and the proof that what comes back is what was
sent. Knows nothing of channels or graphs.

JSON data is strict JSON: a float that is no number travels as a string where a float is declared, and nowhere else.
Equal values give equal JSON data, so the members of a set are sorted. A moment keeps its offset from UTC, not its
zone's name.
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

    Raises what pydantic raises for a type it has no schema for, and `RoundTripError` for one that is no data.
    """

    def __init__(self, annotation: Any) -> None:
        self.annotation = annotation
        # Behind an alias, a dataclass or a TypedDict takes the config like any type; a model always brings its own.
        named = TypeAliasType("named", annotation)
        self._adapter: TypeAdapter[Any] = TypeAdapter(named, config=TYPE_ADAPTER_CONFIG)
        if not self._adapter.pydantic_complete:
            self._adapter.rebuild()
        kind = schema_kind(self._adapter.core_schema)
        if kind in NOT_DATA:
            raise RoundTripError(f"it stands for {NOT_DATA[kind]}")
        self._has_sets = mentions_set(self._adapter.core_schema)
        self.concatenates = is_plain_list(self._adapter.core_schema)
        """Two lists of the type, one after the other, are a list of the type, and so is any part of it."""
        self._is_json = is_json(self._adapter.core_schema)

    def encode(self, value: Any) -> Any:
        """JSON data for the value; `RoundTripError` unless decoding gives an equal value of the same types."""
        return self._proven(value)[0]

    def round_trip(self, value: Any) -> Any:
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
            raise RoundTripError(f"{type_name(value)} would come back as {describe_difference(value, decoded)}")
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
