"""Tests that fail when an upgrade of pydantic changes the core schemas that `stepgraph.serde.core_schema` reads.

Pydantic documents core schemas, and does not promise to keep them. ``pydantic`` has an upper bound in
``pyproject.toml`` for the same reason.
"""

from __future__ import annotations

import dataclasses
import enum
from collections import defaultdict, deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

import langchain_core.documents
import pytest
from langchain_core.messages import AnyMessage, BaseMessage, HumanMessage
from pydantic import AfterValidator, BaseModel, Field, InstanceOf, RootModel, StringConstraints, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import CoreConfig, to_json
from typing_extensions import TypeAliasType, TypedDict

from stepgraph.serde.core_schema import NOT_DATA, is_json, mentions_set, plain_kind, schema_kind
from stepgraph.serde.error_text import type_text
from stepgraph.serde.open_schemas import is_open, serializer_of, validator_of, with_tags, without_langchain
from stepgraph.serde.tagged_values import TaggedCodec
from stepgraph.serde.type_codec import TYPE_ADAPTER_CONFIG, TypeCodec


class NoSchema:
    """A class that pydantic knows nothing of."""


class Model(BaseModel):
    x: int


class OpenModel(BaseModel):
    anything: Any


@dataclasses.dataclass
class OpenData:
    anything: list[Any]


class Cell(TypedDict):
    anything: Any


class ModelWithSet(BaseModel):
    tags: set[str]


class Root(RootModel[list[int]]):
    pass


class Record(TypedDict):
    x: int


class Tree(TypedDict):
    children: list[Tree]


@dataclasses.dataclass
class Data:
    x: int


class Pair(NamedTuple):
    x: int
    y: int


class Color(enum.Enum):
    RED = "red"


Names = TypeAliasType("Names", list[str])
Json = TypeAliasType("Json", "list[Json] | dict[str, Json] | str | int | None")


def adapter_of(annotation: Any) -> TypeAdapter[Any]:
    """Return the type adapter that a `TypeCodec` makes of an annotation."""
    adapter: TypeAdapter[Any] = TypeAdapter(TypeAliasType("alias", annotation), config=TYPE_ADAPTER_CONFIG)
    if not adapter.pydantic_complete:
        adapter.rebuild()
    return adapter


def schema_of(annotation: Any) -> Any:
    """Return the core schema of an annotation, as a `TypeCodec` sees it."""
    return adapter_of(annotation).core_schema


KINDS = [
    (str, "str"),
    (float, "float"),
    (Any, "any"),
    (list[int], "list"),
    (list, "list"),
    (dict[str, int], "dict"),
    (tuple[int, ...], "tuple"),
    (set[int], "set"),
    (frozenset[int], "frozenset"),
    (int | str, "union"),
    (Literal["a"], "literal"),
    (Color, "enum"),
    (Model, "model"),
    (Root, "model"),
    (Record, "typed-dict"),
    (Data, "dataclass"),
    (datetime, "datetime"),
    # What the function looks through: nullability, defaults, definitions.
    (int | None, "int"),
    (set[int] | None, "set"),
    (Annotated[int, Field(default=1)], "int"),
    (Annotated[list[int] | None, Field(default=None)], "list"),
    (Names, "list"),
    (list[Tree], "list"),
    (list[Tree] | None, "list"),
    # What it does not look through: a validator may make anything of the value.
    (Annotated[list[int], AfterValidator(sorted)], "function-after"),
    # What is no data.
    (Callable[[int], int], "callable"),
    (Callable[[int], int] | None, "callable"),
    (Iterable[int], "generator"),
    (Generator[int, None, None], "generator"),
    (InstanceOf[NoSchema], "is-instance"),
    (type[NoSchema], "is-subclass"),
]


@pytest.mark.parametrize(("annotation", "kind"), KINDS, ids=str)
def test_the_kind_of_a_schema(annotation: Any, kind: str) -> None:
    """The kind is pydantic's name for the type itself, whatever is wrapped around it."""
    assert schema_kind(schema_of(annotation)) == kind


@pytest.mark.parametrize(
    "annotation",
    [deque[int], defaultdict[str, int], Sequence[int], Mapping[str, int], Pair, Decimal, UUID, Path, Tree, Json],
    ids=str,
)
def test_the_kind_of_data_is_accepted(annotation: Any) -> None:
    """Versions of pydantic have different names for such types. None may be a name for what is no data."""
    assert schema_kind(schema_of(annotation)) not in NOT_DATA


def test_every_kind_that_is_no_data_occurs() -> None:
    """A kind that pydantic renames would be accepted as data."""
    assert set(NOT_DATA) <= {kind for _, kind in KINDS}


@pytest.mark.parametrize(
    "annotation",
    [
        set[int],
        frozenset[int],
        AbstractSet[int],
        set[int] | None,
        int | set[int],
        list[set[int]],
        dict[str, set[int]],
        tuple[int, set[int]],
        tuple[set[int], ...],
        defaultdict[str, set[int]],
        ModelWithSet,
        list[ModelWithSet],
        RootModel[set[int]],
        TypedDict("WithSet", {"tags": set[str]}),  # type: ignore[operator]  # pydantic accepts the functional form
        Annotated[set[int], Field(min_length=1)],
        Annotated[set[int], AfterValidator(frozenset)],
        TypeAliasType("Sets", list[set[int]]),
    ],
    ids=str,
)
def test_a_set_is_found_anywhere_in_a_schema(annotation: Any) -> None:
    """A set that is not found would be encoded in an order that differs between processes."""
    assert mentions_set(schema_of(annotation))


@pytest.mark.parametrize("annotation", [int, list[int], dict[str, Any], Model, Record, Data, Tree, Json, Any], ids=str)
def test_a_schema_without_a_set_mentions_none(annotation: Any) -> None:
    """The values of such types are encoded without a search for sets."""
    assert not mentions_set(schema_of(annotation))


PLAIN_LISTS: list[tuple[Any, list[Any]]] = [
    (list, [1, "a"]),
    (list[Any], [1, "a"]),
    (list[int], [1, 2]),
    (list[list[int]], [[1], [2]]),
    (list[set[int]], [{1}, {2}]),
    (list[Model], [Model(x=1), Model(x=2)]),
    (list[Tree], [{"children": []}, {"children": []}]),
    (list[Annotated[int, Field(ge=0)]], [1, 2]),
    (Names, ["a", "b"]),
    (Annotated[list[int], "a note"], [1, 2]),
    (Annotated[list[int], Field(description="a note")], [1, 2]),
]


@pytest.mark.parametrize(("annotation", "value"), PLAIN_LISTS, ids=str)
def test_a_list_without_constraints_is_plain(annotation: Any, value: list[Any]) -> None:
    """Every slice of such a list, and the list twice over, is a valid list of the type."""
    adapter = adapter_of(annotation)
    assert plain_kind(adapter.core_schema) == "list"
    for part in ([], value[:1], value[1:], value + value):
        assert adapter.validate_python(part) == part


@pytest.mark.parametrize(
    "annotation",
    [
        Annotated[list[int], Field(min_length=1)],
        Annotated[list[int], Field(max_length=3)],
        Annotated[list[int], Field(strict=True)],
        Annotated[list[int], AfterValidator(sorted)],
        list[int] | None,
        list[int] | str,
        Sequence[int],
        tuple[int, ...],
        deque[int],
        set[int],
        Root,
        Json,
        dict[str, int],
        str,
    ],
    ids=str,
)
def test_anything_else_is_no_plain_list(annotation: Any) -> None:
    """A length, a validator or another container could make a slice or a concatenation invalid."""
    assert plain_kind(schema_of(annotation)) != "list"


PLAIN_KINDS: list[tuple[Any, str]] = [
    (int, "int"),
    (float, "float"),
    (str, "str"),
    (Annotated[int, "a note"], "int"),
    (Annotated[int, Field(ge=0)], ""),
    (Annotated[int, Field(strict=True)], ""),
    (Annotated[int, Field(default=1)], ""),
    (Annotated[float, Field(allow_inf_nan=False)], ""),
    (Annotated[str, Field(max_length=3)], ""),
    (Annotated[str, StringConstraints(strip_whitespace=True)], ""),
    (dict[str, int], "dict"),
    (dict[str, Any], "dict"),
    (dict[str, Model], "dict"),
    (dict[str, Annotated[int, Field(ge=0)]], "dict"),
    # Keys that are other texts as JSON data, or that a constraint changes, could clash in another way.
    (dict, ""),
    (dict[Any, int], ""),
    (dict[int, str], ""),
    (dict[Color, int], ""),
    (dict[Annotated[str, Field(min_length=1)], int], ""),
    (dict[Annotated[str, StringConstraints(to_upper=True)], int], ""),
    (Annotated[dict[str, int], Field(max_length=3)], ""),
]


@pytest.mark.parametrize(("annotation", "kind"), PLAIN_KINDS, ids=str)
def test_a_type_without_constraints_has_a_plain_kind(annotation: Any, kind: str) -> None:
    """A built-in fold stands for a reducer only where each result it makes is a valid value of the type."""
    assert plain_kind(schema_of(annotation)) == kind


JSON_TYPES: list[tuple[Any, Any]] = [
    (str, "a"),
    (int, 1),
    (bool, True),
    (None, None),
    (str | None, None),
    (list[int], [1]),
    (list[list[str]], [["a"]]),
    (list[int] | None, [1]),
    (Names, ["a"]),
    (list[Names], [["a"]]),
    (dict[str, int], {"a": 1}),
    (Mapping[str, int], {"a": 1}),
    (dict[str, list[int] | None], {"a": [1], "b": None}),
    (dict[str, dict[str, bool]], {"a": {"b": True}}),
    (dict[Annotated[str, Field(min_length=1)], int], {"a": 1}),
    (Annotated[list[int], Field(min_length=1)], [1]),
    (Annotated[dict[str, int], Field(min_length=1)], {"a": 1}),
]


@pytest.mark.parametrize(("annotation", "value"), JSON_TYPES, ids=str)
def test_a_type_whose_values_are_json_already(annotation: Any, value: Any) -> None:
    """Strict validation returns such a value unchanged, with new containers, and JSON encoding has nothing to do."""
    adapter = adapter_of(annotation)
    assert is_json(adapter.core_schema)
    validated = adapter.validate_python(value, strict=True)
    assert validated == value
    assert type(validated) is type(value)
    assert not isinstance(value, list | dict) or validated is not value
    assert adapter.dump_python(value, mode="json") == value


@pytest.mark.parametrize(
    "annotation",
    [
        float,  # NaN and infinity are not JSON
        list[float],
        dict[str, float],
        bytes,
        Any,
        list,
        dict,
        list[Any],
        dict[str, Any],
        dict[int, str],  # JSON has text as keys only
        int | str,
        Literal["a"],
        Color,
        datetime,
        Decimal,
        UUID,
        Path,
        Annotated[str, StringConstraints(strip_whitespace=True)],
        Annotated[str, Field(min_length=1)],
        Annotated[int, Field(ge=0)],
        Annotated[list[int], AfterValidator(sorted)],
        list[Annotated[str, AfterValidator(str.upper)]],
        Sequence[int],
        tuple[int, ...],
        set[int],
        deque[int],
        defaultdict[str, int],
        Model,
        list[Model],
        Root,
        Record,
        Data,
        Pair,
        Tree,
        list[Tree],
        Json,
        Annotated[int, Field(default=1)],
        Callable[[int], int],
    ],
    ids=str,
)
def test_a_type_whose_values_need_encoding_or_validation(annotation: Any) -> None:
    """A value of such a type may change on its way through JSON, or the type restricts its values further."""
    assert not is_json(schema_of(annotation))


@pytest.mark.parametrize(
    "annotation",
    [
        Any,
        list,
        dict,
        object,
        dict[str, Any] | None,
        Sequence[Any],
        Iterable[Any] | int,
        tuple[int, Any],
        Cell,
        OpenModel,
        OpenData,
        AnyMessage,
        list[BaseMessage],
        HumanMessage | None,
        langchain_core.documents.Document,
    ],
    ids=type_text,
)
def test_a_type_with_open_parts(annotation: Any) -> None:
    """Values of such parts are encoded with their class."""
    assert is_open(schema_of(annotation))


@pytest.mark.parametrize("annotation", [int, dict[str, int], Model, Data, Tree, Json, Literal["any"]], ids=str)
def test_a_type_without_open_parts(annotation: Any) -> None:
    """Each part says what its values are."""
    assert not is_open(schema_of(annotation))


def test_the_open_field_of_a_model_is_replaced() -> None:
    """Pydantic takes a model's own validator and serializer, in which nothing is replaced, unless it is told not to."""
    schema = with_tags(schema_of(OpenModel), TaggedCodec())
    value = OpenModel(anything=[(1,)])
    text = to_json(serializer_of(schema, CoreConfig()).to_python(value, mode="json"))
    assert validator_of(schema, CoreConfig()).validate_json(text) == value


def test_messages_have_one_name_in_every_version_of_langchain() -> None:
    """So a value that was recorded with another version needs no proof."""
    schema = GenerateJsonSchema().generate(without_langchain(schema_of(list[AnyMessage])), "serialization")
    assert schema["items"] == {"const": "BaseMessage", "type": "string"}
    assert "BaseMessage" in TypeCodec(list[AnyMessage]).fingerprint()
    assert "content" not in TypeCodec(dict[str, AnyMessage | HumanMessage]).fingerprint()
