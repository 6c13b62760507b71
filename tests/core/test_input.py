"""Tests of a caller's input: it is converted to the state's declared types, or refused with the key at fault."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from operator import add
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator, BaseModel
from typing_extensions import TypedDict

from stepgraph.errors import InvalidInputError
from stepgraph.execution.state_schema import StateSchema
from stepgraph.testing import MemoryRunner
from tests.core.graphs import THREAD, graph


@dataclass
class Point:
    x: int
    y: int = 0


class Document(BaseModel):
    title: str


def raising(value: str) -> str:
    if value == "raise":
        raise RuntimeError("not today")
    return value


class State(TypedDict, total=False):
    count: int
    text: str
    day: date
    point: Point
    docs: Annotated[list[Document], add]
    tags: set[str]
    loose: Annotated[list[str], lambda left, right: [*left, str(right)]]
    raising: Annotated[str, AfterValidator(raising)]
    anything: Any


SCHEMA = StateSchema(State)

ACCEPTED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "values of the declared types": (
        {"day": date(2024, 1, 2), "point": Point(1), "docs": [Document(title="t")], "tags": {"b", "a"}},
        {"day": "2024-01-02", "point": {"x": 1, "y": 0}, "docs": [{"title": "t"}], "tags": ["a", "b"]},
    ),
    "values that convert without loss": (
        {"count": "5", "day": "2024-01-02", "point": {"x": 1}, "docs": ({"title": "t"},), "tags": ["b", "a", "b"]},
        {"count": 5, "day": "2024-01-02", "point": {"x": 1, "y": 0}, "docs": [{"title": "t"}], "tags": ["a", "b"]},
    ),
    "any JSON for a reducer without annotations": ({"loose": {"a": [1]}}, {"loose": {"a": [1]}}),
    "plain JSON in Any": ({"anything": {"a": [1, None]}}, {"anything": {"a": [1, None]}}),
    "a declared dataclass in Any": (
        {"anything": Point(1)},
        {"anything": {"$type": "test_input.Point", "x": 1, "y": 0}},
    ),
    "an empty input": ({}, {}),
}


@pytest.mark.parametrize(("input_data", "encoded"), ACCEPTED.values(), ids=ACCEPTED.keys())
def test_an_input_becomes_json_of_the_declared_types(input_data: dict[str, Any], encoded: dict[str, Any]) -> None:
    """An encoded input keeps the order of its keys, and is accepted unchanged as an input given by hand."""
    result = SCHEMA.encode_input("g", input_data)
    assert result == encoded
    assert list(result) == list(input_data)
    assert SCHEMA.check_input("g", result) == encoded


REFUSED: dict[str, tuple[Any, str]] = {
    "a string for an integer": ({"count": "many"}, "'count' is declared int, got str: Input should be a valid integer"),
    "an integer for a string": ({"text": 5}, "'text' is declared str, got int: Input should be a valid string"),
    "None": ({"text": None}, "'text' is declared str, got NoneType: Input should be a valid string"),
    "a fraction for an integer": ({"count": 1.5}, "'count' is declared int, got float: "),
    "a field that is missing": ({"point": {"y": 1}}, "'point' is declared Point, got dict: x: Field required"),
    "a field deep inside": (
        {"docs": [{"title": "t"}, {"title": 5}]},
        "got list: 1.title: Input should be a valid string",
    ),
    "a function in Any": ({"anything": print}, "builtin_function_or_method is not among the classes that may travel"),
    "a string that JSON cannot carry": ({"text": "\ud800"}, "'text' is declared str, got str: "),
    "a value that makes a validator raise": ({"raising": "raise"}, "got str: not today"),
    "a misspelt key": ({"txt": "x"}, "has a key 'txt' that its state does not declare. Did you mean 'text'?"),
    "a key that is not a string": ({5: "x"}, "has a key 5 that its state does not declare. Known: "),
    "a string instead of a mapping": ("x", "must be a mapping of its state's keys ('count', 'text', "),
    "a list instead of a mapping": ([("text", "x")], "must be a mapping of its state's keys"),
    "an instance of another dataclass": (Point(1), "must be a mapping of its state's keys"),
    "an instance of another model": (Document(title="t"), "or None to resume; got tests.core.test_input.Document."),
}


@pytest.mark.parametrize(("input_data", "expected"), REFUSED.values(), ids=REFUSED.keys())
def test_an_input_that_does_not_fit_is_refused_at_the_call(input_data: Any, expected: str) -> None:
    """The error about an input names graph, key, declared type and given value, and the thread does not change."""
    runner = MemoryRunner(graph(State, "START > n, n > END", n=lambda state: {"text": "n"}))
    runner.invoke({"text": "one"}, THREAD)
    before = list(runner.get_state_history(THREAD))
    with pytest.raises(InvalidInputError, match=rf"^The input of graph 'g' .*{re.escape(expected)}") as caught:
        runner.invoke(input_data, THREAD)
    assert caught.value.graph == "g"
    assert list(runner.get_state_history(THREAD)) == before


@pytest.mark.parametrize(
    ("input_data", "expected"),
    [
        ({"count": "many"}, "'count' is declared int, got str: Input should be a valid integer"),
        ({"text": None}, "'text' is declared str, got NoneType: "),
        ({"point": {}}, "'point' is declared Point, got dict: x: Field required"),
        ({"raising": "raise"}, "'raising' is declared Annotated[str, AfterValidator("),
        ({"cuont": 1}, "has a key 'cuont' that its state does not declare. Did you mean 'count'?"),
        ([], "must be a JSON object with its state's keys"),
        ("x", "or null to resume; got str."),
    ],
)
def test_json_given_by_hand_is_checked_as_well(input_data: Any, expected: str) -> None:
    """`check_input` checks JSON that no client has encoded, for example from a command line."""
    with pytest.raises(InvalidInputError, match=rf"^The input of graph 'g' .*{re.escape(expected)}"):
        SCHEMA.check_input("g", input_data)


def test_a_key_that_does_not_fit_is_an_attribute_of_the_error() -> None:
    """Programs can read the key of an invalid input without parsing the message."""
    with pytest.raises(InvalidInputError) as caught:
        SCHEMA.encode_input("g", {"text": "x", "count": "many"})
    assert caught.value.key == "count"
    assert isinstance(caught.value, ValueError)
