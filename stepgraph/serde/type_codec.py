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
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final, cast

from pydantic import BaseModel, ConfigDict, RootModel, TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import CoreConfig, from_json, to_json
from typing_extensions import TypeAliasType

from stepgraph.serde.core_schema import NOT_DATA, is_json, mentions_set, plain_kind, schema_kind
from stepgraph.serde.equality import describe_difference, describe_loss, same
from stepgraph.serde.error_text import first_line, type_name, type_text
from stepgraph.serde.open_schemas import (
    is_open,
    names_langchain,
    serializer_of,
    validator_of,
    with_tags,
    without_langchain,
)
from stepgraph.serde.plain_json import RoundTripError
from stepgraph.serde.tagged_values import TaggedCodec, may_have_tags

TYPE_ADAPTER_CONFIG = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="strings")

MAX_DIGITS: Final = 4300
"""Digits of an integer from which JSON parsers refuse it, Python's and pydantic's."""

_BLOCK: Final = MAX_DIGITS // 2


_aliases: list[TypeAliasType] = []
"""All aliases that were made. pydantic notes an alias by its address in the cached schema of the class behind it, so a
later alias at the same address would seem to refer to itself."""


class TypeCodec:
    """Encodes and decodes values of one type.

    Parts of the type that are open, such as `Any`, ``list`` and ``dict``, keep the classes of their values:
    LangChain's, Python's own, and those of ``classes``. Values that are JSON data stay as they are.

    Args:
        annotation: the type.
        classes: classes of the author's that open parts may have.

    Raises:
        RoundTripError: the type is not data; a callable, for example.
        PydanticUserError, PydanticUndefinedAnnotation, SchemaError: pydantic has no schema for the type.
    """

    def __init__(self, annotation: Any, classes: Iterable[type] = ()) -> None:
        self.annotation = annotation
        # Behind an alias, a dataclass or a TypedDict takes the config like any type; a model always brings its own.
        alias = TypeAliasType("alias", annotation)
        _aliases.append(alias)
        self._adapter: TypeAdapter[Any] = TypeAdapter(alias, config=TYPE_ADAPTER_CONFIG)
        if not self._adapter.pydantic_complete:
            self._adapter.rebuild()
        schema = self._adapter.core_schema
        kind = schema_kind(schema)
        if kind in NOT_DATA:
            raise RoundTripError(f"it stands for {NOT_DATA[kind]}")
        self.plain_kind = plain_kind(schema)
        """``list``, ``dict``, ``int``, ...: the kind of a type without constraints, so that each concatenation of its
        lists is a list of the type, each union of its mappings a mapping of the type. Otherwise empty."""
        self._is_json = is_json(schema)
        has_sets = mentions_set(schema)
        self._plain = _Conversion(self._adapter.validator, self._adapter.serializer, has_sets)
        self._tagged: _Conversion | None = None
        self._names_langchain = names_langchain(schema)
        if is_open(schema):
            tagged = with_tags(schema, TaggedCodec(classes))
            config = cast(CoreConfig, TYPE_ADAPTER_CONFIG)
            self._tagged = _Conversion(validator_of(tagged, config), serializer_of(tagged, config), has_sets)

    def fingerprint(self) -> str:
        """Return the type's JSON schema as JSON text, without titles and descriptions; its name if it has none.

        It is the same in every process and in every version of Python.
        """
        try:
            if self._names_langchain:
                schema = GenerateJsonSchema().generate(without_langchain(self._adapter.core_schema), "serialization")
            else:
                schema = self._adapter.json_schema(mode="serialization")
        except Exception:  # pydantic's own error for a type without a JSON schema, or whatever a user's hook raises
            return type_text(self.annotation)
        return to_json(_without_texts(schema)).decode()

    def prove(self, encoded: Any) -> Any:
        """Return a new value from JSON data that another type may have written.

        Raises:
            RoundTripError: the data does not come back unchanged. Fields that the type has in addition may come with
                their defaults.
        """
        try:
            value = self.decode(encoded)
            again = self.dump(value)
        except Exception as error:  # pydantic's, or whatever a validator of the user's raises
            raise RoundTripError(first_line(error)) from error
        if (lost := describe_loss(encoded, again)) is not None:
            raise RoundTripError(lost)
        return value

    def encode(self, value: Any) -> Any:
        """Return JSON data for any value, after checking that it comes back unchanged.

        Raises:
            RoundTripError: decoding the data would not give an equal value of the same types.
        """
        if self._is_json:
            with suppress(Exception):  # the slow path below finds the same problem, and says what and where it is
                plain = self._adapter.validate_python(value, strict=True)
                if same(value, plain):
                    text = to_json(plain)  # raises for a str with surrogates, which is not valid UTF-8
                    if not _may_have_long_integer(text):
                        return plain
        if self._tagged is None:
            return self._plain.round_trip(value)[0]
        if not self._names_langchain:
            with suppress(RoundTripError):  # a value that needs tags
                encoded, text = self._plain.round_trip(value)
                if not may_have_tags(text):  # a mapping of the user's has to be told from a tag
                    return encoded
        return self._tagged.round_trip(value)[0]

    def dump(self, value: Any) -> Any:
        """Return JSON data for a value that is known to be of the type."""
        return (self._tagged or self._plain).serialize(value)[0]

    def decode(self, encoded: Any) -> Any:
        """Return a new value from JSON data. Raises pydantic's `ValidationError` if the data does not fit the type."""
        if self._is_json:  # also checks and copies, and is faster than going through text
            with suppress(ValidationError):
                return self._adapter.validate_python(encoded, strict=True)
        return self.decode_text(to_json(encoded))

    def decode_text(self, text: bytes) -> Any:
        """Return a new value from JSON text. Raises pydantic's `ValidationError` if the text does not fit the type."""
        if self._tagged is not None and (self._names_langchain or may_have_tags(text)):
            return self._tagged.validator.validate_json(text)
        return self._plain.validator.validate_json(text)

    def coerce(self, value: Any) -> Any:
        """Return a value converted to the type: a model from ``{"title": "x"}``, for example.

        Raises pydantic's `ValidationError` if the value does not fit the type.
        """
        conversion = self._tagged if self._tagged is not None and self._names_langchain else self._plain
        return conversion.validator.validate_python(value)


@dataclasses.dataclass(frozen=True)
class _Conversion:
    """Converts the values of one type, with tags in its open parts or without."""

    validator: Any
    serializer: Any
    has_sets: bool

    def round_trip(self, value: Any) -> tuple[Any, bytes]:
        """Return a value as JSON data and as JSON text, after checking that it comes back unchanged."""
        encoded, text = self.serialize(value)
        try:
            decoded = self.validator.validate_json(text)
        except Exception as error:  # pydantic's, or whatever a validator of the user's raises
            raise RoundTripError(first_line(error)) from error
        if not same(value, decoded):
            raise RoundTripError(f"{type_name(value)} would come back as {describe_difference(value, decoded)}")
        return encoded, text

    def serialize(self, value: Any) -> tuple[Any, bytes]:
        """Return a value as JSON data and as JSON text."""
        try:
            encoded = self.serializer.to_python(value, mode="json", warnings="error", round_trip=True, by_alias=True)
            if self.has_sets:
                encoded = _with_sorted_sets(value, encoded)
            text = to_json(encoded)
            if b"NaN" in text or b"Infinity" in text:
                text = to_json(encoded, inf_nan_mode="strings")
                encoded = from_json(text)
        except Exception as error:  # pydantic's, or whatever a serializer of the user's raises
            if isinstance(error.__cause__, RoundTripError):  # of an open part
                raise error.__cause__ from error
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


def _without_texts(schema: Any) -> Any:
    """Return a JSON schema without what is only meant for people."""
    if isinstance(schema, dict):
        names = {"title", "description", "examples"}
        kept = {name: part for name, part in schema.items() if name not in names or isinstance(part, dict)}
        return {name: _without_texts(part) for name, part in sorted(kept.items())}
    return [_without_texts(part) for part in schema] if isinstance(schema, list) else schema


def _may_have_long_integer(text: bytes) -> bool:
    """Return whether JSON text may have an integer of `MAX_DIGITS` digits. The digits may also be part of a string.

    So many digits cover a whole block of the text, wherever they begin.
    """
    starts = range(0, len(text) - _BLOCK + 1, _BLOCK)
    return any(text[start : start + _BLOCK].isdigit() for start in starts)
