"""A caller's input: taken as the state declares it, or refused at the call, naming the key."""

from __future__ import annotations

import math
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


def choosy(value: str) -> str:
    if value == "touch":
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
    choosy: Annotated[str, AfterValidator(choosy)]
    anything: Any


SCHEMA = StateSchema(State)

TAKEN: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "values of the declared types": (
        {"day": date(2024, 1, 2), "point": Point(1), "docs": [Document(title="t")], "tags": {"b", "a"}},
        {"day": "2024-01-02", "point": {"x": 1, "y": 0}, "docs": [{"title": "t"}], "tags": ["a", "b"]},
    ),
    "what becomes one without loss": (
        {"count": "5", "day": "2024-01-02", "point": {"x": 1}, "docs": ({"title": "t"},), "tags": ["b", "a", "b"]},
        {"count": 5, "day": "2024-01-02", "point": {"x": 1, "y": 0}, "docs": [{"title": "t"}], "tags": ["a", "b"]},
    ),
    "what a reducer takes that says nothing": ({"loose": {"a": [1]}}, {"loose": {"a": [1]}}),
    "plain JSON where anything goes": ({"anything": {"a": [1, None]}}, {"anything": {"a": [1, None]}}),
    "nothing at all": ({}, {}),
}


@pytest.mark.parametrize(("given", "encoded"), TAKEN.values(), ids=TAKEN.keys())
def test_an_input_becomes_json_of_the_declared_types(given: dict[str, Any], encoded: dict[str, Any]) -> None:
    """In the order given; and that JSON, given as input by hand, is taken as it is."""
    found = SCHEMA.encode_input("g", given)
    assert found == encoded
    assert list(found) == list(given)
    assert SCHEMA.check_input("g", found) == encoded


MISFITS: dict[str, tuple[Any, str]] = {
    "a text for a number": ({"count": "many"}, "'count' is declared int, got str: Input should be a valid integer"),
    "a number for a text": ({"text": 5}, "'text' is declared str, got int: Input should be a valid string"),
    "None": ({"text": None}, "'text' is declared str, got NoneType: Input should be a valid string"),
    "half a number": ({"count": 1.5}, "'count' is declared int, got float: "),
    "a field that is missing": ({"point": {"y": 1}}, "'point' is declared Point, got dict: x: Field required"),
    "a field deep inside": (
        {"docs": [{"title": "t"}, {"title": 5}]},
        "got list: 1.title: Input should be a valid string",
    ),
    "a dataclass where anything goes": ({"anything": Point(1)}, "got tests.core.test_input.Point: "),
    "no number where anything goes": ({"anything": math.nan}, "float would come back as str"),
    "a text that JSON cannot carry": ({"text": "\ud800"}, "'text' is declared str, got str: "),
    "what a validator cannot bear": ({"choosy": "touch"}, "got str: not today"),
    "a misspelt key": ({"txt": "x"}, "has a key 'txt' that its state does not declare. Did you mean 'text'?"),
    "a key that is no text": ({5: "x"}, "has a key 5 that its state does not declare. Known: "),
    "a text": ("x", "must be a mapping of its state's keys ('count', 'text', "),
    "a list": ([("text", "x")], "must be a mapping of its state's keys"),
    "another dataclass": (Point(1), "must be a mapping of its state's keys"),
    "another model": (Document(title="t"), "or None to resume; got tests.core.test_input.Document."),
}


@pytest.mark.parametrize(("given", "told"), MISFITS.values(), ids=MISFITS.keys())
def test_an_input_that_does_not_fit_is_refused_at_the_call(given: Any, told: str) -> None:
    """The message names graph and key, says what is declared and what was given; the thread is as it was."""
    runner = MemoryRunner(graph(State, "START > n, n > END", n=lambda state: {"text": "n"}))
    runner.invoke({"text": "one"}, THREAD)
    before = list(runner.get_state_history(THREAD))
    with pytest.raises(InvalidInputError, match=rf"^The input of graph 'g' .*{re.escape(told)}") as caught:
        runner.invoke(given, THREAD)
    assert caught.value.graph == "g"
    assert list(runner.get_state_history(THREAD)) == before


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"count": "many"}, "'count' is declared int, got str: Input should be a valid integer"),
        ({"text": None}, "'text' is declared str, got NoneType: "),
        ({"point": {}}, "'point' is declared Point, got dict: x: Field required"),
        ({"choosy": "touch"}, "'choosy' is declared Annotated[str, AfterValidator("),
        ({"cuont": 1}, "has a key 'cuont' that its state does not declare. Did you mean 'count'?"),
        ([], "must be a JSON object with its state's keys"),
        ("x", "or null to resume; got str."),
    ],
)
def test_json_given_by_hand_is_checked_as_well(given: Any, told: str) -> None:
    """From a command line, say, where nobody encoded it."""
    with pytest.raises(InvalidInputError, match=rf"^The input of graph 'g' .*{re.escape(told)}"):
        SCHEMA.check_input("g", given)


def test_a_key_that_does_not_fit_is_an_attribute_of_the_error() -> None:
    """For tools that want more than the text."""
    with pytest.raises(InvalidInputError) as caught:
        SCHEMA.encode_input("g", {"text": "x", "count": "many"})
    assert caught.value.key == "count"
    assert isinstance(caught.value, ValueError)
