"""Core schemas with parts that are open: values of any class, and LangChain's classes.

Owns the replacement of these parts by data that says its class (`stepgraph.serde.tagged_values`). The rest of a schema
stays as pydantic made it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pydantic_core import CoreConfig, SchemaSerializer, SchemaValidator

from stepgraph.serde.langchain_kinds import is_message_class, langchain_kind_of
from stepgraph.serde.message_list import as_messages
from stepgraph.serde.tagged_kinds import TAG
from stepgraph.serde.tagged_values import TaggedCodec

Schema = dict[str, Any]

_NO_PARTS: Final = frozenset(
    {"cls", "config", "default", "expected", "json_schema_input_schema", "keys_schema", "metadata", "return_schema"}
)
"""Keys of schemas whose values are no schemas, or are not those of values. Keys of mappings stay plain."""

_BARE_DICT: Final = frozenset({"type", "keys_schema", "values_schema", "strict", "metadata", "ref"})


def is_open(schema: Any) -> bool:
    """Return whether a schema has a part of any class, or one of LangChain's classes."""
    found = []
    _replaced(schema, lambda part: found.append(part) if _is_any(part) or _langchain_class(part) else None)
    return bool(found)


def names_langchain(schema: Any) -> bool:
    """Return whether a schema has a part that is one of LangChain's classes."""
    found = []
    _replaced(schema, lambda part: found.append(part) if _langchain_class(part) else None)
    return bool(found)


def without_langchain(schema: Any) -> Any:
    """Return a schema in which LangChain's classes are mere names: it is the same for each version of LangChain."""

    def named(part: Schema) -> Schema | None:
        cls = _langchain_class(part)
        return _kept(part, {"type": "literal", "expected": [cls.__qualname__]}) if cls else None

    return _replaced(schema, named)


def with_tags(schema: Any, codec: TaggedCodec) -> Any:
    """Return a schema whose open parts are encoded and decoded by a codec."""

    def tagged(part: Schema) -> Schema | None:
        if cls := _langchain_class(part):
            return _langchain_node(part, cls, codec)
        if part.get("type") == "any":
            return _node(part, codec.decode, codec)
        if part.get("type") == "dict" and part.keys() <= _BARE_DICT and _takes_any_key(part):
            return _node(part, lambda data: _dict(codec.decode(data)), codec)
        return None

    return _replaced(schema, tagged)


def validator_of(schema: Any, config: CoreConfig) -> SchemaValidator:
    """Return a validator that heeds what was replaced in a model, too."""
    return SchemaValidator(schema, config, **_FOR_MODELS)


def serializer_of(schema: Any, config: CoreConfig) -> SchemaSerializer:
    """Return a serializer that heeds what was replaced in a model, too."""
    return SchemaSerializer(schema, config, **_FOR_MODELS)


def _options_for_models() -> dict[str, Any]:
    """Return what keeps pydantic from taking a model's own validator instead of the schema that it is given.

    Pydantic before 2.14 has no such option. Open fields of models then take JSON data only; other values are refused.
    """
    options = {"_use_prebuilt": False}
    try:
        SchemaValidator({"type": "any"}, None, **options)
    except TypeError:
        return {}
    return options


_FOR_MODELS: Final = _options_for_models()


def _replaced(schema: Any, replace: Callable[[Schema], Any]) -> Any:
    """Return a schema with the parts for which ``replace`` has another, outermost first."""
    if isinstance(schema, dict):
        other = replace(schema)
        if other is not None:
            return other
        return {key: part if key in _NO_PARTS else _replaced(part, replace) for key, part in schema.items()}
    if isinstance(schema, list | tuple):
        return type(schema)(_replaced(part, replace) for part in schema)
    return schema


def _is_any(part: Schema) -> bool:
    return part.get("type") == "any"


def _takes_any_key(part: Schema) -> bool:
    return bool(part.get("keys_schema", {"type": "any"}).get("type") == "any")


def _langchain_class(part: Schema) -> Any:
    """Return the class of LangChain's that a schema is for; `None` if it is for none."""
    kind = part.get("type")
    if kind == "model" and (langchain_kind_of(part["cls"]) or is_message_class(part["cls"])):
        return part["cls"]
    module = getattr(part.get("discriminator"), "__module__", None) if kind == "tagged-union" else None
    if module is not None and module.startswith("langchain_core.messages"):  # `AnyMessage`
        from langchain_core.messages import BaseMessage

        return BaseMessage
    return None


def _node(part: Schema, load: Callable[[Any], Any], codec: TaggedCodec) -> Schema:
    """Return a schema whose JSON form is data with tags."""
    json_schema = {"type": "function-plain", "function": {"type": "no-info", "function": load}}
    return _kept(
        part,
        {
            "type": "json-or-python",
            "json_schema": json_schema,
            "python_schema": {key: item for key, item in part.items() if key != "ref"},
            "serialization": _serialization(codec),
        },
    )


def _langchain_node(part: Schema, cls: Any, codec: TaggedCodec) -> Schema:
    """Return the schema of a class of LangChain's. What stands for a message becomes one."""

    def validate(value: Any, handler: Callable[[Any], Any]) -> Any:
        if isinstance(value, dict) and TAG in value:
            value = codec.decode(value)
        if isinstance(value, cls):
            return value
        if not is_message_class(cls):
            return handler(value)
        (message,) = as_messages([value])
        if not isinstance(message, cls):
            raise ValueError(f"a {type(message).__name__} is no {cls.__name__}")
        return message

    inner = {"type": "any"} if is_message_class(cls) else {key: item for key, item in part.items() if key != "ref"}
    function = {"type": "no-info", "function": validate}
    return _kept(
        part,
        {"type": "function-wrap", "function": function, "schema": inner, "serialization": _serialization(codec)},
    )


def _serialization(codec: TaggedCodec) -> Schema:
    return {
        "type": "function-plain",
        "function": codec.dump,
        "return_schema": {"type": "any"},
        "when_used": "json",
    }


def _kept(part: Schema, other: Schema) -> Schema:
    """Return another schema under the name by which a schema is referred to."""
    return {**other, "ref": part["ref"]} if "ref" in part else other


def _dict(value: Any) -> dict[Any, Any]:
    if type(value) is not dict:
        raise ValueError(f"it has to be a dict, not a {type(value).__name__}")
    return value
