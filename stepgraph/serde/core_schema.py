"""What pydantic's core schemas say of a type."""

from __future__ import annotations

from typing import Any

NOT_DATA = {
    "callable": "a function",
    "generator": "an iterator, which is used up by reading it",
    "is-instance": "a class without a schema",
    "is-subclass": "a class",
}
"""Kinds of schema that pydantic has for what is no data."""


def schema_kind(schema: Any) -> str:
    """What a core schema describes, below what only wraps it."""
    while schema["type"] in ("definitions", "nullable", "default"):
        schema = schema["schema"]
    return str(schema["type"])


def mentions_set(schema: Any) -> bool:
    if isinstance(schema, dict):
        return schema.get("type") in ("set", "frozenset") or any(map(mentions_set, schema.values()))
    return isinstance(schema, list | tuple) and any(map(mentions_set, schema))


def is_plain_list(schema: Any) -> bool:
    """Whether the items alone decide what is valid, and how it is written."""
    while schema["type"] == "definitions":
        schema = schema["schema"]
    return schema["type"] == "list" and set(schema) <= {"type", "items_schema", "ref", "metadata"}


def is_json(schema: Any) -> bool:
    """Whether values of the type are their own JSON data, of which only containers can be changed."""
    kind = schema["type"]
    if kind in ("definitions", "nullable"):
        return not schema.get("definitions") and is_json(schema["schema"])
    if kind == "list":
        return is_json(schema.get("items_schema", {"type": "any"}))
    if kind == "dict":
        keys, values = schema.get("keys_schema", {"type": "any"}), schema.get("values_schema", {"type": "any"})
        return keys["type"] == "str" and is_json(values)
    return kind in ("str", "int", "bool", "none") and set(schema) <= {"type", "ref", "metadata"}
