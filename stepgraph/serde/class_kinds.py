"""The classes that the author of a graph names: how their instances become tagged JSON data, field by field.

An instance is made without its ``__init__`` and without validators. So it comes back as what it was, whatever those
would make of it.
"""

from __future__ import annotations

import copy
import dataclasses
import enum
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from pydantic import BaseModel

from stepgraph.serde.error_text import type_text
from stepgraph.serde.plain_json import RoundTripError
from stepgraph.serde.stable_name import stable_name
from stepgraph.serde.tagged_kinds import TAG, Convert, Kind

_REQUIRED: Final = object()
"""In the place of a default: the field has none."""


@dataclasses.dataclass(frozen=True)
class _Factory:
    """A default that is made anew for each instance."""

    make: Callable[[], Any]


def kinds_of(classes: Iterable[type]) -> dict[type, Kind]:
    """Return the kind of each class that the author of a graph named. Its tag is its `stable_name`.

    Of several classes with one name, the later ones have their number behind it. So a class that is named after another
    one does not change the tag of what was recorded before.

    Raises:
        RoundTripError: a class is not one whose instances can become JSON data.
    """
    kinds: dict[type, Kind] = {}
    counts: Counter[str] = Counter()
    for cls in dict.fromkeys(classes):
        name = stable_name(cls)
        counts[name] += 1
        kinds[cls] = _kind_of(cls, name if counts[name] == 1 else f"{name}#{counts[name]}")
    return kinds


def is_named_tuple(cls: type) -> bool:
    """Return whether a class was made by `typing.NamedTuple` or `collections.namedtuple`."""
    return issubclass(cls, tuple) and hasattr(cls, "_fields")


def model_kind(cls: type[BaseModel], tag: str, *, without_defaults: bool = False) -> Kind:
    """Return the kind of a pydantic model.

    Args:
        cls: the model.
        tag: its tag.
        without_defaults: whether fields that have their default are left out, except for ``type``.
    """
    fields = cls.model_fields
    defaults = {name: _default_of_field(field) for name, field in fields.items()}
    left_out = {name: _fresh(default) for name, default in defaults.items() if default is not _REQUIRED}
    left_out = {name: default for name, default in left_out.items() if without_defaults and name != "type"}
    names = sorted(fields, key=lambda name: name != "type")  # a message is read from its type on
    template = cls.model_construct(**{name: None for name, default in defaults.items() if default is _REQUIRED})

    def dump(value: Any, part: Convert) -> Mapping[str, Any]:
        data, attributes = {}, vars(value)
        for name in names:
            item = attributes.get(name, _REQUIRED)
            if item is _REQUIRED or (
                name in left_out and type(item) is type(left_out[name]) and item == left_out[name]
            ):
                continue
            data[name] = item if type(item) is str else part(item)
        for name, item in (value.__pydantic_extra__ or {}).items():
            if name == TAG:
                raise RoundTripError(f"a {tag} has an extra field {TAG!r}, the key that says what a mapping stands for")
            data[name] = part(item)
        return data

    def load(data: dict[str, Any], part: Convert) -> Any:
        update = {name: item if type(item) is str else part(item) for name, item in data.items()}
        for name, default in defaults.items():
            if name not in update:
                update[name] = _fresh_or_refuse(default, tag, name)
        copied = template.model_copy(update=update)
        if template.__pydantic_private__:
            object.__setattr__(copied, "__pydantic_private__", copy.deepcopy(template.__pydantic_private__))
        return copied

    annotations = [f"{name}: {type_text(field.annotation)}" for name, field in fields.items()]
    return Kind(tag, dump, load, f"{tag}({', '.join(annotations)})")


def _kind_of(cls: Any, tag: str) -> Kind:
    if issubclass(cls, enum.Enum):
        members = [f"{name}={member.value!r}" for name, member in cls.__members__.items()]
        return Kind(
            tag,
            lambda value, part: {"value": part(value.value)},
            lambda data, part: cls(part(data["value"])),
            f"{tag}({', '.join(members)})",
        )
    if issubclass(cls, BaseModel):
        return model_kind(cls, tag)
    if dataclasses.is_dataclass(cls):
        return _kind_by_attributes(cls, tag, {item.name: _default_of_item(item) for item in dataclasses.fields(cls)})
    if is_named_tuple(cls):
        defaults = {name: cls._field_defaults.get(name, _REQUIRED) for name in cls._fields}
        return _kind_by_attributes(cls, tag, defaults, make=lambda data: tuple.__new__(cls, data.values()))
    if isinstance(slots := cls.__dict__.get("__slots__"), tuple | list):
        return _kind_by_attributes(cls, tag, dict.fromkeys(slots))
    raise RoundTripError(f"{type_text(cls)} is not a dataclass, a pydantic model, an enum or a named tuple")


def _kind_by_attributes(
    cls: Any, tag: str, defaults: Mapping[str, Any], *, make: Callable[[dict[str, Any]], Any] | None = None
) -> Kind:
    """Return the kind of a class whose instances hold nothing but some attributes.

    Args:
        cls: the class.
        tag: its tag.
        defaults: the attributes, each with its default.
        make: makes an instance of the attributes, in the order of ``defaults``; by default they are set one by one.
    """

    def set_attributes(attributes: dict[str, Any]) -> Any:
        value = object.__new__(cls)
        for name, item in attributes.items():
            object.__setattr__(value, name, item)  # also of a frozen dataclass
        return value

    def load(data: dict[str, Any], part: Convert) -> Any:
        if unknown := data.keys() - defaults.keys():
            raise RoundTripError(f"{tag} has no field {min(unknown)!r}")
        attributes = {
            name: part(data[name]) if name in data else _fresh_or_refuse(default, tag, name)
            for name, default in defaults.items()
        }
        return (make or set_attributes)(attributes)

    annotations = [f"{name}: {type_text(hint)}" for name, hint in getattr(cls, "__annotations__", {}).items()]
    return Kind(
        tag,
        lambda value, part: {name: part(getattr(value, name)) for name in defaults},
        load,
        f"{tag}({', '.join(annotations)})",
    )


def _fresh(default: Any) -> Any:
    if isinstance(default, _Factory):
        return default.make()
    return default if default is None or type(default) is str else copy.deepcopy(default)


def _fresh_or_refuse(default: Any, tag: str, name: str) -> Any:
    """Return the default of a field that the data does not have."""
    if default is _REQUIRED:
        raise RoundTripError(f"a {tag} needs the field {name!r}, which its data does not have")
    return _fresh(default)


def _default_of_field(field: Any) -> Any:
    if field.is_required():
        return _REQUIRED
    return field.default if field.default_factory is None else _Factory(field.default_factory)


def _default_of_item(item: dataclasses.Field[Any]) -> Any:
    if item.default_factory is not dataclasses.MISSING:
        return _Factory(item.default_factory)
    return _REQUIRED if item.default is dataclasses.MISSING else item.default
