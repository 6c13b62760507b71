"""Properties of the built-in folds: on JSON data, each gives what its reducer gives on values of the declared type."""

from __future__ import annotations

import enum
import math
import operator
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from functools import reduce
from typing import Annotated, Any, Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, RemoveMessage, ToolMessage
from langgraph.graph.message import REMOVE_ALL_MESSAGES, add_messages
from pydantic import BaseModel, Field, StringConstraints
from pydantic_core import to_json
from typing_extensions import TypedDict

from stepgraph.engine.folding import Write, fold_built_in
from stepgraph.engine.folds import ADD_FLOATS, ADD_INTS, APPEND, BUILT_IN, CUSTOM, JOIN, LAST_VALUE, MERGE, MESSAGES
from stepgraph.errors import ReducerError, StepgraphError
from stepgraph.execution.channels import make_channel
from stepgraph.serde.equality import identical, same
from stepgraph.serde.plain_json import RoundTripError
from stepgraph.serde.type_codec import TypeCodec


class Note(BaseModel):
    text: str
    weight: float = 1.0


class Row(TypedDict):
    key: str
    tags: set[str]


class Color(enum.Enum):
    RED = "red"


HUGE = 10**300
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
notes = st.builds(Note, text=texts, weight=st.floats(allow_nan=True))
decimals = st.decimals(allow_nan=False, allow_infinity=False)
floats = st.floats() | st.sampled_from([math.inf, -math.inf, math.nan, -0.0, 0.0, 1.7e308, -1.7e308, 5e-324])
json_data = st.recursive(
    st.none() | st.booleans() | st.integers() | texts | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)

PAIRS: list[tuple[str, Callable[[Any, Any], Any], Any, st.SearchStrategy[Any]]] = [
    (APPEND, operator.add, list, st.lists(json_data, max_size=3)),
    (APPEND, operator.add, list[str], st.lists(texts, max_size=3)),
    (APPEND, operator.add, list[float], st.lists(floats, max_size=3)),
    (APPEND, operator.add, list[Note | None], st.lists(notes | st.none(), max_size=3)),
    (APPEND, operator.add, list[set[int]], st.lists(st.sets(st.integers(0, 9), max_size=3), max_size=3)),
    (APPEND, operator.add, list[tuple[int, bytes]], st.lists(st.tuples(st.integers(), st.binary(max_size=3)))),
    (APPEND, operator.add, list[Row], st.lists(st.fixed_dictionaries({"key": texts, "tags": st.sets(texts)}))),
    (APPEND, operator.add, Annotated[list[Decimal], "a note"], st.lists(decimals, max_size=3)),
    (ADD_INTS, operator.add, int, st.integers() | st.integers(-HUGE, HUGE)),
    (ADD_FLOATS, operator.add, float, floats),
    (JOIN, operator.add, str, texts | st.sampled_from(["e", "\u0301", "\0", "\U0001f1e9", "\U0001f1ea", "\u200d"])),
    (MERGE, operator.or_, dict[str, Any], st.dictionaries(texts, json_data, max_size=4)),
    (MERGE, operator.or_, dict[str, float], st.dictionaries(texts, floats, max_size=4)),
    (MERGE, operator.or_, dict[str, Note], st.dictionaries(texts, notes, max_size=4)),
    (MERGE, operator.or_, dict[str, list[int]], st.dictionaries(texts, st.lists(st.integers()), max_size=4)),
]  # fmt: skip


def described(pair: tuple[Any, ...]) -> str:
    return f"{pair[0]} {pair[2]}"


def fold(name: str, values: Sequence[Any]) -> Any:
    """Return the fold of JSON data, the first of which is the value before, as the engine makes it."""
    return fold_built_in(name, values[0], [Write("n", "x", value) for value in values[1:]], step=1, type_text="T")


@pytest.mark.parametrize("pair", PAIRS, ids=described)
def test_a_listed_pair_of_reducer_and_type_has_its_built_in_fold(pair: Any) -> None:
    """The run's spec records the fold by its name and version, so that every worker folds alike."""
    name, reducer, annotation, _ = pair
    spec = make_channel("x", Annotated[annotation, reducer]).spec
    assert (spec.fold, spec.has_zero, spec.every_step) == (name, True, False)
    assert spec.folds
    assert name in BUILT_IN


@pytest.mark.parametrize("pair", PAIRS, ids=described)
@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_a_fold_of_json_data_is_the_reducer_of_the_values(pair: Any, data: st.DataObject) -> None:
    """To fold encoded values and then decode gives the value of the reducer, and its JSON text; so do three values."""
    name, reducer, annotation, strategy = pair
    codec = TypeCodec(annotation)
    values = data.draw(st.lists(strategy, min_size=2, max_size=4))
    encoded = [codec.encode(value) for value in values]
    before = to_json(encoded)
    folded = fold(name, encoded)
    expected = reduce(reducer, values)
    assert same(codec.decode(folded), expected)
    assert to_json(folded) == to_json(codec.encode(expected))
    assert to_json(encoded) == before


@pytest.mark.parametrize("pair", PAIRS, ids=described)
def test_the_zero_is_neutral(pair: Any) -> None:
    """The first write is folded into the zero, and is the value afterwards."""
    name, reducer, annotation, strategy = pair
    channel = make_channel("x", Annotated[annotation, reducer])

    @settings(max_examples=20, deadline=None)
    @given(value=strategy)
    def check(value: Any) -> None:
        encoded = channel.codec.encode(value)
        expected = channel.codec.encode(reducer(channel.zero(), value))  # -0.0 becomes 0.0
        assert to_json(fold(name, [channel.spec.zero, encoded])) == to_json(expected)

    check()


@settings(deadline=None)
@given(numbers=st.lists(st.integers(-(10**308), 10**308) | floats.map(TypeCodec(float).encode), min_size=2, max_size=4))
@example(numbers=[2**53 + 1, 0])
@example(numbers=[2**60 + 2**7 + 1, -1])
@example(numbers=[10**308, 10**308])
@example(numbers=[0, -0.0])
def test_ints_in_a_channel_of_floats_are_floats(numbers: list[Any]) -> None:
    """JSON data from elsewhere may have an int where a float is declared: it is rounded as the type rounds it."""
    codec = TypeCodec(float)
    expected = reduce(operator.add, map(codec.decode, numbers))
    folded = fold(ADD_FLOATS, numbers)
    assert identical(codec.decode(folded), expected)
    assert isinstance(folded, float | str)


def test_an_int_that_no_float_can_hold_is_an_error_of_the_reducer() -> None:
    """It names the channel; the thread is not stuck with a value that nobody can read."""
    with pytest.raises(
        ReducerError, match=r"The reducer of channel 'x' failed in step 1 on what 'n' wrote: OverflowErr"
    ):
        fold(ADD_FLOATS, [0.0, 10**400])
    with pytest.raises(RoundTripError):
        TypeCodec(float).encode(10**400)


def test_a_fold_that_this_version_does_not_know_is_refused_by_name() -> None:
    """A later version of stepgraph may have started the run."""
    with pytest.raises(StepgraphError, match="Channel 'x' has the fold 'append@2', which this version"):
        fold("append@2", [[], []])


class Text(str):
    pass


OTHERS: list[tuple[Callable[[Any, Any], Any], Any]] = [
    (operator.add, Decimal),
    (operator.add, timedelta),
    (operator.or_, set[str]),
    (operator.or_, frozenset[str]),
    (operator.add, tuple[int, ...]),
    (operator.add, deque[int]),
    (operator.add, Sequence[int]),
    (operator.or_, Mapping[str, int]),
    (operator.add, Annotated[list[int], Field(max_length=3)]),
    (operator.add, Annotated[list[int], Field(min_length=1)]),
    (operator.add, Annotated[int, Field(le=9)]),
    (operator.add, Annotated[float, Field(allow_inf_nan=False)]),
    (operator.add, Annotated[str, Field(max_length=3)]),
    (operator.add, Annotated[str, StringConstraints(strip_whitespace=True)]),
    (operator.or_, Annotated[dict[str, int], Field(max_length=3)]),
    (operator.or_, dict),
    (operator.or_, dict[int, str]),
    (operator.or_, dict[bool, str]),
    (operator.or_, dict[Color, str]),
    (operator.or_, dict[Annotated[str, StringConstraints(to_lower=True)], int]),
    (operator.or_, Row),
    (operator.add, int | float),
    (operator.add, int | None),
    (operator.add, list[int] | None),
    (operator.add, Literal[1, 2]),
    (operator.add, Any),
    (operator.add, bool),
    (operator.or_, bool),
    (operator.or_, int),
    (operator.mul, int),
    (operator.sub, int),
    (operator.iadd, list[int]),
    (max, int),
    (min, float),
    (lambda left, right: left + right, list[int]),
    (add_messages(format="langchain-openai"), list[AnyMessage]),
]


@pytest.mark.parametrize(("reducer", "annotation"), OTHERS, ids=[f"{number}" for number in range(len(OTHERS))])
def test_any_other_pair_is_custom(reducer: Callable[[Any, Any], Any], annotation: Any) -> None:
    """Only the graph's code can fold it: JSON data of such types do not add up as the values do."""
    assert make_channel("x", Annotated[annotation, reducer]).spec.fold == CUSTOM


def test_a_channel_without_a_reducer_has_no_fold() -> None:
    """Its write is its value, and it has no zero."""
    spec = make_channel("x", list[int]).spec
    assert (spec.fold, spec.has_zero, spec.zero, spec.folds) == (LAST_VALUE, False, None, False)


ids = st.sampled_from("abcde")
contents = texts | st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": texts}), max_size=2)


@st.composite
def messages(draw: st.DrawFn) -> Any:
    """Draws a message of a person, a model or a tool."""
    content: Any = draw(contents)
    match draw(st.sampled_from(["human", "ai", "tool"])):
        case "human":
            return HumanMessage(content, id=draw(ids))
        case "ai":
            return AIMessage(content, id=draw(ids), tool_calls=[])
    return ToolMessage(content, id=draw(ids), tool_call_id=draw(texts))


removals = (ids | st.just(REMOVE_ALL_MESSAGES)).map(lambda id: RemoveMessage(id))


@settings(max_examples=300, deadline=None)
@given(
    value=st.lists(messages(), max_size=4),
    writes=st.lists(st.lists(messages() | removals, max_size=4), min_size=1, max_size=3),
)
@example(value=[HumanMessage("1", id="a")], writes=[[RemoveMessage("a"), AIMessage("2", id="a")]])
@example(value=[HumanMessage("1", id="a")], writes=[[AIMessage("2", id="b"), RemoveMessage("b")]])
@example(value=[HumanMessage("1", id="a")], writes=[[RemoveMessage(REMOVE_ALL_MESSAGES), RemoveMessage("a")]])
@example(value=[HumanMessage("1", id="a"), AIMessage("2", id="a")], writes=[[RemoveMessage("a")]])
@example(value=[], writes=[[RemoveMessage("unknown")]])
def test_the_fold_of_messages_is_that_of_langgraph(value: list[Any], writes: list[list[Any]]) -> None:
    """`messages@1` replaces, removes and appends what LangGraph's `add_messages` does, and refuses what it refuses."""
    encoded = [[message.model_dump(mode="json") for message in each] for each in (value, *writes)]
    before = to_json(encoded)
    try:
        expected: Any = reduce(add_messages, writes, value)
    except ValueError:
        with pytest.raises(
            ReducerError, match="ValueError: Attempting to delete a message with an ID that doesn't exist"
        ):
            fold(MESSAGES, encoded)
    else:
        assert fold(MESSAGES, encoded) == [message.model_dump(mode="json") for message in expected]
    assert to_json(encoded) == before
