"""Tests of `TaggedCodec`: a value that nothing declares comes back as what it was, or writing it is refused."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import subprocess
import sys
import textwrap
import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.agents import AgentAction, AgentFinish
from langchain_core.documents import Document
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langgraph.types import Command, Overwrite, Send
from pydantic import BaseModel, Field, PrivateAttr
from pydantic_core import from_json, to_json
from typing_extensions import TypedDict

from stepgraph.engine.folds import BUILT_IN, MESSAGES
from stepgraph.serde.declared_classes import classes_in
from stepgraph.serde.equality import same
from stepgraph.serde.plain_json import RoundTripError
from stepgraph.serde.tagged_values import TaggedCodec


class Mood(enum.StrEnum):
    GLAD = "glad"


@dataclasses.dataclass(frozen=True)
class Step:
    name: str
    done: bool = False
    notes: list[Any] = dataclasses.field(default_factory=list)


class Plan(BaseModel):
    steps: list[Step] = Field(alias="plannedSteps")
    mood: Mood | None = None


class Secretive(BaseModel):
    _secret: int = PrivateAttr(default=0)


class Point(NamedTuple):
    x: int
    y: int = 0


class Note(HumanMessage):
    stars: int = 0


class Settings(TypedDict):
    plan: Annotated[dict[str, Plan | None], "the plan"]
    points: list[Point]


CODEC = TaggedCodec((Mood, Step, Plan, Point, Note, Secretive, Command, Overwrite, Send))

CALL = {"name": "search", "args": {"q": "x"}, "id": "c1", "type": "tool_call"}
USAGE = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
MESSAGE_VALUES: list[BaseMessage] = [
    HumanMessage("hi", id="1"),
    HumanMessage([{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": "data:x"}}]),
    AIMessage("", id="2", tool_calls=[CALL], usage_metadata=USAGE, response_metadata={"model": "m", "at": (1, 2)}),
    AIMessage("no", additional_kwargs={"tool_calls": [], "$type": "tuple", 1: "one"}, name="bot"),
    AIMessageChunk("part", id="3", chunk_position="last"),
    ToolMessage("42", tool_call_id="c1", status="error", artifact=[Document("d", metadata={"page": 1}), {1, 2}]),
    SystemMessage("be kind", id="4", custom=True),
    ChatMessage("hm", role="critic"),
    FunctionMessage("f", name="f"),
    RemoveMessage("4"),
    Note("three stars", stars=3),
]
VALUES = [
    *MESSAGE_VALUES,
    [MESSAGE_VALUES, {"last": MESSAGE_VALUES[0]}],
    Document("text", id="9", metadata={"source": "a.pdf", "pages": (1, 2)}),
    AgentAction("search", {"q": "x"}, "because"),
    AgentFinish({"output": "42"}, "done"),
    (1, (2, [3]), ()),
    {3, 1, 2},
    frozenset({"b", "a"}),
    {1: "one", (2, 3): "tuple", None: "none"},
    {"$type": "tuple", "items": [1]},
    [{"$type": {"$type": "message"}}],
    b"\x00\xff",
    uuid.UUID(int=7),
    Decimal("1.10"),
    datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
    date(2026, 1, 2),
    time(3, 4, 5),
    timedelta(days=-1, microseconds=3),
    math.nan,
    [math.inf, -math.inf, -0.0],
    Mood.GLAD,
    Step("a", notes=[Point(1), Mood.GLAD, HumanMessage("hi")]),
    Plan(plannedSteps=[Step("a")], mood=Mood.GLAD),
    Point(1, 2),
    Send("worker", {"n": (1, 2)}),
    Command(update={"messages": [HumanMessage("hi")]}, goto=("a", Send("b", {1}))),
    Overwrite([1]),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_of_an_allowed_class_comes_back_as_what_it_was(value: Any) -> None:
    """The data survives JSON text, the value keeps its class at every level, and encoding again gives equal data."""
    data = CODEC.encode(value)
    text = json.dumps(data).encode()
    again = CODEC.decode_text(text)
    assert same(value, again)
    assert same(CODEC.decode(json.loads(text)), again)
    assert CODEC.encode(again) == data
    assert same(CODEC.prove(data), value)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("ab$\\", max_size=3),
    lambda parts: (
        st.lists(parts, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "items"]), parts, max_size=3)
    ),
    max_leaves=8,
)
python_values = st.recursive(
    json_values | st.dates() | st.uuids() | st.decimals(allow_nan=False) | st.binary(max_size=3),
    lambda parts: (
        st.lists(parts, max_size=3)
        | st.tuples(parts, parts)
        | st.dictionaries(st.sampled_from(["$type", "items", "value", 1, None]), parts, max_size=3)
        | st.builds(
            HumanMessage, st.lists(st.text("ab"), max_size=2), additional_kwargs=st.dictionaries(st.text("a$"), parts)
        )
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(json_values)
def test_json_data_stays_as_it_is(value: Any) -> None:
    """JSON data without the key ``$type`` has no tag, so that people can read it in the Web UI."""
    assert same(CODEC.encode(value), value)
    assert same(CODEC.decode(value), value)


@settings(deadline=None)
@given(python_values)
def test_nested_values_come_back_as_what_they_were(value: Any) -> None:
    """Whatever a user's mappings have as keys, they are never taken for tags."""
    assert same(value, CODEC.decode_text(to_json(CODEC.encode(value))))


def test_the_data_is_a_copy() -> None:
    """A node that changes a list after it wrote it changes nothing that is recorded."""
    value = {"a": [1]}
    data = CODEC.encode(value)
    decoded = CODEC.decode(data)
    value["a"].append(2)
    decoded["a"].append(3)
    assert data == {"a": [1]}


def test_messages_read_well_and_suit_the_built_in_fold() -> None:
    """A message is its type, its content and what else differs from the defaults; the fold finds its id."""
    data = CODEC.encode([HumanMessage("hi", id="1"), AIMessage("ho", id="2")])
    assert data[0] == {"$type": "message", "content": "hi", "type": "human", "id": "1"}
    folded = BUILT_IN[MESSAGES](data, CODEC.encode([RemoveMessage("1"), AIMessage("hey", id="2")]))
    assert same(CODEC.decode(folded), [AIMessage("hey", id="2")])


def test_the_text_of_a_message_is_a_str() -> None:
    """``message.text`` is a subclass of `str` in LangChain; what is recorded and comes back is its text."""
    assert CODEC.encode({"answer": AIMessage("42").text}) == {"answer": "42"}


class Stranger(BaseModel):
    x: int = 0


class Loud(str):
    pass


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (
            [{"a": Stranger()}],
            "test_tagged_values.Stranger is not among the classes.*Mention the class in an annotation",
        ),
        (Loud("x"), "Loud is not among the classes"),
        (lambda: None, "function is not among the classes"),
        ("\ud800", "surrogates"),
        (10**5000, "more than 4,299 digits"),
        (HumanMessage("x", **{"$type": "y"}), "an extra field '\\$type'"),
    ],
    ids=["model", "str", "function", "surrogate", "integer", "field"],
)
def test_what_would_not_come_back_is_refused(value: Any, reason: str) -> None:
    """The error names the class, and what its author has to do."""
    with pytest.raises(RoundTripError, match=reason):
        CODEC.encode(value)


def test_a_private_attribute_that_would_be_lost_is_refused() -> None:
    """A model's private attributes are not data."""
    value = Secretive()
    value._secret = 1
    with pytest.raises(RoundTripError, match="would come back as one with other contents"):
        CODEC.encode(value)


def test_a_value_that_contains_itself_is_refused() -> None:
    """The error is not a `RecursionError`."""
    value: list[Any] = []
    value.append(value)
    with pytest.raises(RoundTripError, match="contains itself"):
        CODEC.encode(value)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"$type": "os.system", "value": "x"}, "its tag 'os.system' names no class that this code allows"),
        ({"$type": "message", "type": "os", "content": ""}, "a message has the type 'os'"),
        ({"$type": "message", "type": "ai"}, "a message needs the field 'content'"),
        ({"$type": "uuid"}, "its data does not fit its tag: KeyError"),
        ({"$type": ["unhashable"]}, "its data does not fit its tag"),
        ({"$type": "test_tagged_values.Step", "name": "a", "colour": 1}, "has no field 'colour'"),
    ],
)
def test_data_that_fits_no_allowed_class_is_refused(data: Any, reason: str) -> None:
    """Nothing is imported or called because a payload names it."""
    with pytest.raises(RoundTripError, match=reason):
        CODEC.decode(data)


def test_a_field_that_a_class_has_in_addition_comes_with_its_default() -> None:
    """Values that were recorded before the field was added can be read."""
    assert CODEC.prove({"$type": "test_tagged_values.Step", "name": "a"}) == Step("a")


def test_equal_sets_give_equal_data() -> None:
    """The order of a set's members differs from process to process; that of the data does not."""
    assert CODEC.encode({"b", "c", "a"}) == {"$type": "set", "items": ["a", "b", "c"]}


def test_a_codec_for_lists_refuses_other_values() -> None:
    """A built-in fold that appends lists may rely on the kind of the values."""
    codec = TaggedCodec(plain_kind="list")
    assert codec.encode([(1,)]) == [{"$type": "tuple", "items": [1]}]
    with pytest.raises(RoundTripError, match="it has to be a list, not a tuple"):
        codec.encode((1,))


def test_the_fingerprint_tells_one_set_of_classes_from_another() -> None:
    """It says nothing of the order in which they were named."""
    assert TaggedCodec((Step, Plan)).fingerprint() == TaggedCodec((Plan, Step)).fingerprint()
    assert TaggedCodec((Step,)).fingerprint() != TaggedCodec().fingerprint()


def test_the_classes_that_an_annotation_mentions_are_found_at_any_depth() -> None:
    """Through unions, generic types, typed dicts and the fields of the classes that were found."""
    assert set(classes_in(dict[str, list[Settings]])) == {Plan, Step, Mood, Point}
    assert classes_in(list[AIMessage], Any, dict[str, Document]) == ()


def test_a_process_without_langchain_decodes_all_but_langchains_classes() -> None:
    """It imports nothing of LangChain, and says what to install where data needs it."""
    code = """
        import sys
        sys.modules["langchain_core"] = None  # as if it were not installed
        from stepgraph.serde.tagged_values import TaggedCodec
        codec = TaggedCodec()
        assert codec.decode(codec.encode({"a": (1, 2)})) == {"a": (1, 2)}
        try:
            codec.decode([{"$type": "message", "type": "ai", "content": "hi"}])
        except ValueError as error:
            print(error)
    """
    result = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert result.stdout == (
        "messages and documents need LangChain, which is not installed: pip install 'stepgraph[langgraph]'\n"
    )


def test_encoding_imports_nothing_of_langchain() -> None:
    """A graph without messages does not pay for LangChain."""
    code = """
        import sys
        from stepgraph.serde.tagged_values import TaggedCodec
        TaggedCodec().encode([{1: (2,)}])
        print([name for name in sys.modules if name.startswith("langchain")])
    """
    result = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_a_long_chat_takes_little_space() -> None:
    """A message of a usual size takes its content and at most 350 bytes."""
    message = AIMessage("x" * 200, id=str(uuid.uuid4()), tool_calls=[CALL], usage_metadata=USAGE)
    text = to_json(CODEC.encode([message] * 100))
    assert len(text) <= 100 * 550
    assert from_json(text)[0]["type"] == "ai"
