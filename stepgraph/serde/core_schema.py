"""Questions about pydantic's core schemas: what kind of type a schema describes.

Owns the knowledge of how pydantic nests its schemas. Never looks at a value.
"""

from __future__ import annotations

from typing import Any

NOT_DATA = {
    "callable": "a function",
    "generator": "an iterator, which is used up by reading it",
    "is-instance": "a class without a schema",
    "is-subclass": "a class",
}
"""Schema kinds whose values cannot become JSON, each with the words that an error message uses for it."""


def schema_kind(schema: Any) -> str:
    """Return the kind of a schema, such as ``"list"`` or ``"model"``, without definitions, nullability or defaults."""
    while schema["type"] in ("definitions", "nullable", "default"):
        schema = schema["schema"]
    return str(schema["type"])


def mentions_set(schema: Any) -> bool:
    """Return whether a set or a frozenset occurs anywhere in a schema."""
    if isinstance(schema, dict):
        return schema.get("type") in ("set", "frozenset") or any(map(mentions_set, schema.values()))
    return isinstance(schema, list | tuple) and any(map(mentions_set, schema))


def plain_kind(schema: Any) -> str:
    """Return the kind of a schema that has no constraints of its own, such as a length: only its parts matter.

    A mapping counts if its keys are plain texts. For any other schema, return an empty text.
    """
    while schema["type"] == "definitions":
        schema = schema["schema"]
    parts = {"list": {"items_schema"}, "dict": {"keys_schema", "values_schema"}}
    kind = str(schema["type"])
    if not set(schema) <= {"type", "ref", "metadata"} | parts.get(kind, set()):
        return ""
    if kind == "dict" and plain_kind(schema.get("keys_schema", {"type": "any"})) != "str":
        return ""
    return kind


def is_json(schema: Any) -> bool:
    """Return whether each valid value already is JSON data, whose lists and dicts are its only mutable parts.

    Example: ``dict[str, list[int] | None]``. A float does not count, because NaN and infinity are not JSON.
    """
    kind = schema["type"]
    if kind in ("definitions", "nullable"):
        return not schema.get("definitions") and is_json(schema["schema"])
    if kind == "list":
        return is_json(schema.get("items_schema", {"type": "any"}))
    if kind == "dict":
        keys, values = schema.get("keys_schema", {"type": "any"}), schema.get("values_schema", {"type": "any"})
        return keys["type"] == "str" and is_json(values)
    return kind in ("str", "int", "bool", "none") and set(schema) <= {"type", "ref", "metadata"}
