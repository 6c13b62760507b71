"""Tests of `TypeCodec`: a value read back from JSON equals the value that was written, or writing it is refused."""

from __future__ import annotations

import collections
import dataclasses
import enum
import json
import math
import subprocess
import sys
import uuid
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

import langchain_core.documents
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, RemoveMessage, ToolMessage
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, RootModel, SecretStr, computed_field
from pydantic_core import to_json
from typing_extensions import TypedDict

from stepgraph.errors import SerializationError
from stepgraph.execution.channels import make_channel
from stepgraph.serde.equality import same
from stepgraph.serde.plain_json import RoundTripError, as_json
from stepgraph.serde.type_codec import TypeCodec


class Colour(enum.Enum):
    RED = 1
    BLUE = "blue"


class Mood(str, enum.Enum):  # noqa: UP042 (the most common spelling)
    GLAD = "glad"
    SAD = "sad"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@dataclasses.dataclass
class Point:
    x: float
    y: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class Route:
    stops: tuple[Point, ...]
    raw: bytes = b""
    names: frozenset[str] = frozenset()


@dataclasses.dataclass(eq=False)
class Plain:
    any: Any = None
    hidden: int = dataclasses.field(default=0, compare=False)


class Document(BaseModel):
    title: str
    score: float = 0.0
    tags: set[str] = set()
    at: datetime | None = None
    parts: list[Document] = []


class Aliased(BaseModel):
    title: str = Field(alias="Title")


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")

    title: str = ""
    any: Any = None


class Longer(Document):
    pages: int = 0


class Computed(BaseModel):
    model_config = ConfigDict(extra="forbid")

    side: int

    @computed_field
    def area(self) -> int:
        return self.side**2


class Secretive(BaseModel):
    _secret: int = PrivateAttr(default=0)


class Numbers(RootModel[set[int]]):
    pass


class Row(TypedDict, total=False):
    id: int
    point: Point
    tags: set[str]


class Anything(TypedDict):
    any: Any
    number: int


CALL = {"name": "search", "args": {"q": 1}, "id": "c", "type": "tool_call"}
MESSAGE = AIMessage("", id="1", tool_calls=[CALL], additional_kwargs={"at": (1, 2)})
TOOL_MESSAGE = ToolMessage("found", tool_call_id="c", artifact={1, 2})
DOCUMENT = langchain_core.documents.Document("text", id="1", metadata={"pages": (1, 2)})


class Cell(NamedTuple):
    row: int
    text: str


PARIS = ZoneInfo("Europe/Paris")

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
floats = st.floats(allow_nan=True, allow_infinity=True)
zones = st.one_of(
    st.none(),
    st.just(UTC),
    st.integers(-720, 720).map(lambda minutes: timezone(timedelta(minutes=minutes))),
    st.sampled_from(["Europe/Paris", "America/New_York", "Asia/Kathmandu", "Pacific/Apia"]).map(ZoneInfo),
)
moments = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=zones)
points = st.builds(Point, floats, floats)
documents = st.recursive(
    st.builds(Document, title=texts, score=floats, tags=st.sets(texts), at=st.none() | moments),
    lambda inner: st.builds(Document, title=texts, parts=st.lists(inner, max_size=2)),
    max_leaves=4,
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)

LEAVES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (bool, st.booleans()),
    (int, st.integers()),
    (float, floats),
    (str, texts),
    (bytes, st.binary(max_size=5)),
    (None, st.none()),
    (datetime, moments),
    (date, st.dates()),
    (time, st.times()),
    (timedelta, st.timedeltas()),
    (Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
    (uuid.UUID, st.uuids()),
    (Path, st.just(Path("/tmp/x"))),
    (Colour, st.sampled_from(Colour)),
    (Mood, st.sampled_from(Mood)),
    (Level, st.sampled_from(Level)),
    (Literal["a", 1], st.sampled_from(["a", 1])),
    (int | str, st.integers() | texts),
    (float | None, floats | st.none()),
    (Point | list[Point], points | st.lists(points, max_size=2)),
    (Point, points),
    (Route, st.builds(Route, st.lists(points, max_size=2).map(tuple), st.binary(max_size=3), st.frozensets(texts))),
    (Document, documents),
    (Aliased, st.builds(Aliased, Title=texts)),
    (Numbers, st.sets(st.integers()).map(Numbers)),
    (Row, st.fixed_dictionaries({}, optional={"id": st.integers(), "point": points, "tags": st.sets(texts)})),
    (Cell, st.builds(Cell, st.integers(), texts)),
    (Any, json_values),
    (Any, st.tuples(json_values, moments)),
    (list, st.lists(json_values | st.just(MESSAGE) | st.just(DOCUMENT), max_size=3)),
    (AnyMessage, st.sampled_from([MESSAGE, TOOL_MESSAGE])),
    (Anything, st.fixed_dictionaries({"any": json_values | st.just(MESSAGE), "number": st.integers()})),
]
HASHABLE: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, st.integers()),
    (str, texts),
    (bytes, st.binary(max_size=4)),
    (date, st.dates()),
    (uuid.UUID, st.uuids()),
    (Mood, st.sampled_from(Mood)),
    (Level, st.sampled_from(Level)),
]
KEYS = [
    *HASHABLE,
    (bool, st.booleans()),
    (float, st.floats(allow_nan=False)),
    (Literal["a", "b"], st.sampled_from("ab")),
]


@st.composite
def typed_values(draw: st.DrawFn, depth: int = 2) -> tuple[Any, Any]:
    """Draws a type and a value of that type."""
    annotation, values = draw(types(depth))
    return annotation, draw(values)


@st.composite
def types(draw: st.DrawFn, depth: int) -> tuple[Any, st.SearchStrategy[Any]]:
    """Draws a type and a strategy for its values."""
    if depth == 0 or draw(st.booleans()):
        return draw(st.sampled_from(LEAVES))
    inner, values = draw(types(depth - 1))
    item, items = draw(st.sampled_from(HASHABLE))
    key, keys = draw(st.sampled_from(KEYS))
    containers: list[tuple[Any, st.SearchStrategy[Any]]] = [
        (list[inner], st.lists(values, max_size=3)),
        (tuple[inner, ...], st.lists(values, max_size=3).map(tuple)),
        (tuple[inner, int], st.tuples(values, st.integers())),
        (dict[key, inner], st.dictionaries(keys, values, max_size=3)),
        (set[item], st.sets(items, max_size=4)),
        (frozenset[item], st.frozensets(items, max_size=4)),
        (list[set[item]], st.lists(st.sets(items, max_size=3), max_size=2)),
        (collections.deque[inner], st.lists(values, max_size=3).map(collections.deque)),
        (Annotated[list[inner], Field(max_length=9)], st.lists(values, max_size=3)),
    ]
    return draw(st.sampled_from(containers))


@settings(max_examples=400, deadline=None)
@given(typed_values())
def test_a_value_of_the_declared_type_survives_a_round_trip(typed: tuple[Any, Any]) -> None:
    """Strict JSON keeps nested types, the order of mappings, bytes that are not UTF-8, NaN and infinity."""
    annotation, value = typed
    codec = TypeCodec(annotation)
    encoded = codec.encode(value)
    text = json.dumps(encoded, allow_nan=False)
    again = codec.decode(json.loads(text))
    assert same(value, again)
    assert codec.encode(again) == encoded
    assert codec.dump(again) == encoded
    for copied in (codec.decode(codec.dump(value)), codec.decode(codec.encode(value))):
        assert same(value, copied)
        assert copied is not value or value is None or isinstance(value, str | int | bytes | float | tuple | enum.Enum)


REFUSED: dict[str, tuple[Any, Any, str]] = {
    "a dataclass in Any": (Any, Point(1.0), "test_type_codec.Point is not among the classes"),
    "a dataclass in a bare list": (list, [Point(1.0)], "test_type_codec.Point is not among the classes"),
    "a model in a dict of anything": (
        dict[str, Any],
        {"a": Document(title="x")},
        "test_type_codec.Document is not among the classes",
    ),
    "a str-Enum in Any": (Any, Mood.GLAD, "Mood is not among the classes"),
    "a str-Enum in a set of anything": (set[Any], {Mood.GLAD}, "Mood is not among the classes"),
    "a str-Enum in a dataclass": (Plain, Plain(Mood.GLAD), "Mood is not among the classes"),
    "a str-Enum in a model": (Open, Open(any=Mood.GLAD), "Mood is not among the classes"),
    "a str-Enum for a str": (str, Mood.GLAD, "Mood: .*come back as str"),
    "an IntEnum for an int": (int, Level.LOW, "Level: .*come back as int"),
    "an integer key in a mapping of texts": (dict[str, Any], {1: "a"}, "dict: "),
    "a dict subclass": (dict[str, int], collections.Counter("ab"), "collections.Counter: .*come back as dict"),
    "an OrderedDict": (dict[str, int], collections.OrderedDict(a=1), "OrderedDict: .*come back as dict"),
    "a list subclass": (list[int], type("Mine", (list,), {})([1]), "Mine: .*come back as list"),
    "a str subclass": (str, type("Name", (str,), {})("x"), "Name: .*come back as str"),
    "a subclass of the model": (
        list[Document],
        [Longer(title="x", pages=3)],
        "list: .*one with .*Document for .*Longer",
    ),
    "a subclass in a field": (Document, Document(title="x", parts=[Longer(title="y")]), "Document for .*Longer"),
    "a field of another type than declared": (
        Document,
        Document.model_construct(title=5),
        "expected str, got int",
    ),
    "a private attribute": (Secretive, secretive := Secretive(), "Secretive: .*other contents"),
    "a secret": (SecretStr, SecretStr("x"), "SecretStr: .*other contents"),
    "None for a str": (str, None, "NoneType: "),
    "an int for a str": (str, 5, "int: expected str, got int"),
    "a str for an int": (int, "5", "str: expected int, got str"),
    "a bool for an int": (int, True, "bool: .*come back as int"),
    "an int for a bool": (bool, 1, "int: expected bool, got int"),
    "a float for an int": (int, 1.0, "float: expected int, got float"),
    "an int too large for a float": (float, 2**53 + 1, "int: .*come back as float"),
    "a list for a tuple": (tuple[int, ...], [1], "list: expected tuple"),
    "a list for a set": (set[int], [1], "list: expected set"),
    "a dict for a dataclass": (Point, {"x": 1.0}, "dict: expected Point"),
    "a key too many": (Row, {"id": 1, "odd": 2}, "dict: "),
    "a bounded deque": (collections.deque[int], collections.deque([1], maxlen=3), "collections.deque: "),
    "a length that is not allowed": (Annotated[list[int], Field(max_length=1)], [1, 2], "list: .*at most 1 item"),
    "a text that UTF-8 cannot encode": (str, "\ud800", "str: .*surrogates not allowed"),
    "a key that UTF-8 cannot encode": (dict[str, int], {"\ud800": 1}, "dict: "),
    "a list that contains itself": (Any, circular := [], "list contains itself"),
    "a list nested too deeply": (Any, deep := [], "list contains itself, or is nested too deep"),
    "an object": (Any, object(), "object is not among the classes"),
    "a function": (Any, print, "builtin_function_or_method is not among the classes"),
}
secretive._secret = 5
circular.append(circular)
for _ in range(1_000):
    deep.append(deep := [])


@pytest.mark.parametrize(("declared", "value", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_a_value_that_would_come_back_changed_is_refused(declared: Any, value: Any, message: str) -> None:
    """The error about a write names channel and type, says what the value would become, and how to fix it."""
    channel = make_channel("found", declared)
    fix = r"Write a value of the declared type, or declare the type you write\.$"
    with pytest.raises(
        SerializationError, match=rf"^Channel 'found' is declared .* cannot take this .*{message}.*{fix}"
    ) as caught:
        channel.encode_write(value)
    assert caught.value.channel == "found"
    assert caught.value.value_type.endswith(type(value).__qualname__)


ACCEPTED: dict[str, tuple[Any, Any, Any]] = {
    "an int where a float is declared": (float, 3, float),
    "NaN in a model": (Document, Document(title="x", score=math.nan), repr),
    "infinities in a dataclass": (Point, Point(math.inf, -math.inf), repr),
    "infinity and NaN in a mapping": (dict[float, float], {math.inf: math.nan}, repr),
    "bytes in a dataclass": (Route, Route((), b"\xff\x00"), repr),
    "a model with extra fields that allows them": (Open, Open(title="x", extra=[1]), repr),
    "a model with a computed field": (Computed, Computed(side=3), repr),
    "a field that equality ignores": (Plain, Plain(1, hidden=2), vars),
    "the first pass of a repeated hour": (
        datetime,
        datetime(2024, 10, 27, 2, 30, tzinfo=PARIS),
        datetime.isoformat,
    ),
    "the second pass of a repeated hour": (
        datetime,
        datetime(2024, 10, 27, 2, 30, tzinfo=PARIS, fold=1),
        datetime.isoformat,
    ),
    "the longest timedelta": (timedelta, timedelta.max, repr),
    "the shortest timedelta": (timedelta, timedelta.min, repr),
    "a number beyond 64 bits": (Any, 10**40, repr),
    "negative zero": (float, -0.0, repr),
    "a null byte": (str, "\0", repr),
    "a tuple in Any": (Any, (1, 2), repr),
    "a tuple deep in Any": (Any, {"a": [{"b": (1,)}]}, repr),
    "a tuple in a set of anything": (set[Any], {(1, 2)}, repr),
    "a set in a list of anything": (list[Any], [{1}], repr),
    "bytes in Any": (Any, b"x", repr),
    "a date in a typed dict": (Anything, {"any": date(2024, 1, 1), "number": 1}, repr),
    "a date in a dataclass": (Plain, Plain(date(2024, 1, 1)), vars),
    "a date in a model": (Open, Open(any=date(2024, 1, 1)), repr),
    "integer keys in a bare dict": (dict, {1: "a", "1": "b"}, repr),
    "a mapping that looks like a tag": (dict[str, Any], {"a": {"$type": "tuple", "items": []}}, repr),
    "a key that looks like a tag": (dict[str, Any], {"$type": "tuple", "items": []}, repr),
    "NaN in Any": (Any, math.nan, repr),
    "messages in Any": (Any, {"log": [MESSAGE, (TOOL_MESSAGE,)]}, repr),
    "messages in a bare list": (list, [MESSAGE, TOOL_MESSAGE], repr),
    "messages in a list of messages": (list[AnyMessage], [MESSAGE, TOOL_MESSAGE], repr),
    "messages in a list of base messages": (list[BaseMessage], [MESSAGE, TOOL_MESSAGE, RemoveMessage("1")], repr),
    "messages in a sequence": (Sequence[BaseMessage], [MESSAGE, TOOL_MESSAGE], repr),
    "messages in a union": (list[BaseMessage] | BaseMessage | str | None, MESSAGE, repr),
    "a message of a class": (AIMessage | None, MESSAGE, repr),
    "messages in a mapping": (dict[str, Sequence[Any]], {"a": [MESSAGE]}, repr),
    "a document": (langchain_core.documents.Document, DOCUMENT, repr),
    "documents": (list[langchain_core.documents.Document], [DOCUMENT], repr),
    "documents in Any": (Any, {"found": [DOCUMENT]}, repr),
    "documents in a dataclass": (Plain, Plain(any=[DOCUMENT]), vars),
}


@pytest.mark.parametrize(("declared", "value", "view"), ACCEPTED.values(), ids=ACCEPTED.keys())
def test_values_that_plain_json_would_lose_are_kept(declared: Any, value: Any, view: Any) -> None:
    """Values that equal others, or have no plain JSON form, come back exactly."""
    codec = TypeCodec(declared)
    again = codec.decode(json.loads(json.dumps(codec.encode(value), allow_nan=False)))
    assert view(again) == view(value)


def test_a_datetime_keeps_its_utc_offset() -> None:
    """A datetime comes back with its offset but without the name of its zone."""
    codec = TypeCodec(datetime)
    summer = datetime(2024, 7, 1, 12, tzinfo=PARIS)
    again = codec.decode(codec.encode(summer))
    assert again.isoformat() == "2024-07-01T12:00:00+02:00"
    assert codec.encode(datetime(2024, 7, 1, 12)) == "2024-07-01T12:00:00"


def test_the_order_of_a_mapping_is_kept() -> None:
    """The keys of a mapping come back in their original order."""
    codec = TypeCodec(dict[str, int])
    assert list(codec.decode(codec.encode({"b": 1, "a": 2, "c": 3}))) == ["b", "a", "c"]


def test_a_typed_dict_may_be_written_in_any_order() -> None:
    """A TypedDict comes back in the order of its declaration and is equal to what was written."""
    for value in ({"tags": {"b", "a"}, "id": 1}, {"id": 1, "tags": {"b", "a"}}):
        again = TypeCodec(Row).decode(TypeCodec(Row).encode(value))
        assert again == value
    assert TypeCodec(list[Row]).encode([{"tags": {"b", "a"}, "point": Point(1.0)}]) == [
        {"tags": ["a", "b"], "point": {"x": 1.0, "y": 0.0}}
    ]


def test_a_models_own_config_decides_how_its_bytes_are_encoded() -> None:
    """A model without bytes settings refuses bytes that are not UTF-8; one with base64 settings accepts them."""

    class Blob(BaseModel):
        data: bytes

    class Sent(BaseModel):
        model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

        data: bytes

    assert TypeCodec(Blob).encode(Blob(data=b"text")) == {"data": "text"}
    with pytest.raises(RoundTripError, match="utf-8"):
        TypeCodec(Blob).encode(Blob(data=b"\xff"))
    assert TypeCodec(list[Sent]).decode(TypeCodec(list[Sent]).encode([Sent(data=b"\xff")])) == [Sent(data=b"\xff")]


@pytest.mark.parametrize(
    ("declared", "value", "encoded"),
    [
        (set[str], {"b", "c", "a"}, ["a", "b", "c"]),
        (frozenset[int], frozenset({10, 9, 1}), [1, 10, 9]),
        (dict[str, list[set[str]]], {"k": [{"b", "a"}]}, {"k": [["a", "b"]]}),
        (set[frozenset[str]], {frozenset("ba"), frozenset("a")}, [["a", "b"], ["a"]]),
        (Document, Document(title="t", tags={"b", "a"}), None),
        (Numbers, Numbers({3, 1, 2}), [1, 2, 3]),
        (Row, {"id": 1, "tags": {"b", "a"}}, {"id": 1, "tags": ["a", "b"]}),
        (Route, Route((), names=frozenset("cab")), {"stops": [], "raw": "", "names": ["a", "b", "c"]}),
    ],
)
def test_the_members_of_a_set_are_sorted(declared: Any, value: Any, encoded: Any) -> None:
    """Equal sets have equal JSON, at any depth of a value."""
    result = TypeCodec(declared).encode(value)
    assert (result == encoded) if encoded is not None else (result["tags"] == ["a", "b"])


def test_equal_values_are_equal_json_in_every_process() -> None:
    """The JSON of a set does not depend on the process's hash seed."""
    script = (
        "from stepgraph.serde.type_codec import TypeCodec; from pydantic_core import to_json\n"
        "words = {f'word {n}' for n in range(50)}\n"
        "print(to_json(TypeCodec(dict[str, set[str]]).encode({'words': words})).decode())"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", script], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True, text=True
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(printed) == 1


@settings(max_examples=100, deadline=None)
@given(json_values)
def test_plain_json_is_copied_unchanged(value: Any) -> None:
    """`as_json` returns a copy that is equal to the value in every type."""
    encoded = as_json(value)
    assert same(value, encoded)
    assert encoded is not value or not isinstance(value, list | dict)


@pytest.mark.parametrize(
    "value", [(1,), {1: 2}, {1}, math.nan, math.inf, b"", Point(1.0), Mood.GLAD, "\ud800", object()]
)
def test_plain_json_refuses_values_that_are_not_json(value: Any) -> None:
    """`as_json` converts nothing silently."""
    with pytest.raises(RoundTripError):
        as_json(value)


SAME: list[tuple[Any, Any, bool]] = [
    (1, 1.0, True),
    (1.0, 1, False),
    (True, 1, False),
    (True, 1.0, False),
    ([1, [2]], [1, [2]], True),
    ([1], (1,), False),
    ({"a": 1}, {"a": True}, False),
    ({1}, {True}, False),
    ({1, 2}, {2, 1}, True),
    (math.nan, math.nan, True),
    ([math.nan], [math.nan], True),
    (Plain(1), Plain(1), True),
    (Plain(1), Plain(1, hidden=1), False),
    (Plain((1,)), Plain([1]), False),
    (Open(a=1), Open(a=1), True),
    (Open(a=1), Open(a=2), False),
    (collections.deque([1]), collections.deque([1], 3), False),
    (datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))), False),
    (Decimal("1.0"), Decimal("1.0"), True),
]


@pytest.mark.parametrize(("left", "right", "expected"), SAME)
def test_same_compares_types_as_well_as_values(left: Any, right: Any, expected: bool) -> None:
    """`same` compares types at every depth of containers, dataclasses and models."""
    assert same(left, right) is expected


def test_encoding_a_long_conversation_is_fast() -> None:
    """Encoding 500 messages takes less than 0.1 seconds.

    The bound is loose, so that only a gross regression breaks it.
    """
    codec = TypeCodec(list[Document])
    messages = [Document(title="x" * 200, tags={"a", "b"}) for _ in range(500)]
    assert len(to_json(codec.encode(messages))) > 100_000
    best = min(_seconds(codec, messages) for _ in range(3))
    assert best < 0.1


def _seconds(codec: TypeCodec, value: Any) -> float:
    begun = perf_counter()
    codec.encode(value)
    return perf_counter() - begun
