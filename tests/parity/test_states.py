"""States of every kind hold the same here and in LangGraph: reducers, zeros, dataclasses, models, what nodes return."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import add, or_
from typing import Annotated, Any, TypedDict

import pytest
from pydantic import BaseModel

from tests.conftest import Stage
from tests.parity.cases import Case, Cases, both
from tests.parity.dialect import Dialect
from tests.parity.steps import invoke

cases = Cases()
case = cases.case


def larger(left: int, right: int) -> int:
    return max(left, right)


def keep_longest(left: str, right: str) -> str:
    return right if len(right) > len(left) else left


def last_two(left: list[int], right: list[int]) -> list[int]:
    return (left + right)[-2:]


def put(left: list[int], right: int) -> list[int]:
    return [*left, right]


class Plain(TypedDict, total=False):
    a: int
    b: str
    c: list[int] | None


class Reduced(TypedDict, total=False):
    total: Annotated[int, add]
    largest: Annotated[int, larger]
    text: Annotated[str, add]
    words: Annotated[set[str], or_]
    facts: Annotated[dict[str, int], or_]
    longest: Annotated[str, keep_longest]
    recent: Annotated[list[int], last_two]
    items: Annotated[list[int], put]
    flag: Annotated[bool, or_]
    share: Annotated[float, add]


@dataclass
class UpdateCommand:
    name: str
    lines: Annotated[list[str], add] = field(default_factory=list)
    paid: bool = False


class Invoice(BaseModel):
    name: str
    lines: Annotated[list[str], add] = []
    paid: bool = False


@pytest.mark.parametrize("case", cases.found)
async def test_a_state_of_any_kind_tells_the_same_story(case: Case, stage: Stage) -> None:
    """Results, heads and histories are equal."""
    here, there = await both(case, stage)
    assert here.returned == there.returned
    assert here.heads == there.heads
    assert here.history == there.history


@case(invoke({"a": 1}), invoke({"b": "x"}))
def channels_without_reducers_keep_the_last_value(d: Dialect) -> Any:
    return d.draw(Plain, "START > f, f > END", f=lambda s: {"a": s["a"] + 1, "c": [1]})


@case(invoke({"c": None}))
def a_written_none_is_a_value(d: Dialect) -> Any:
    return d.draw(Plain, "START > f, f > END", f=lambda s: {"c": None if s["c"] is None else [1]})


@case(invoke({"a": 1, "c": [1]}), invoke({"c": None}))
def a_none_in_a_further_input(d: Dialect) -> Any:
    return d.draw(Plain, "START > f, f > END", f=lambda s: {"a": s["a"] + 1})


@case(invoke({"a": 1}))
def nodes_that_write_nothing(d: Dialect) -> Any:
    return d.draw(Plain, "START > f, f > g, g > END", f=lambda s: None, g=lambda s: {})


@case(invoke({"total": 5}), invoke({"total": 5, "largest": 3}))
def sums_and_maxima_of_siblings(d: Dialect) -> Any:
    return d.draw(
        Reduced,
        "START > f, START > g, f > END, g > END",
        f=lambda s: {"total": 1, "largest": 7},
        g=lambda s: {"total": 2, "largest": 4},
    )


@case(invoke({"largest": -5}))
def a_first_write_meets_the_zero(d: Dialect) -> Any:
    """The maximum of -5 and an int's zero is 0."""
    return d.draw(Reduced, "START > f, f > END", f=lambda s: {"largest": -7})


@case(invoke({"words": {"x"}, "facts": {"x": 1}}))
def sets_and_mappings_are_merged_in_the_order_of_names(d: Dialect) -> Any:
    return d.draw(
        Reduced,
        "START > g, START > f, f > END, g > END",
        g=lambda s: {"words": {"g"}, "facts": {"by": 2}},
        f=lambda s: {"words": {"f"}, "facts": {"by": 1, "x": 3}},
    )


@case(invoke({"longest": "a", "text": "in "}))
def reducers_of_ones_own(d: Dialect) -> Any:
    return d.draw(
        Reduced,
        "START > f, START > g, f > h, g > h, h > END",
        f=lambda s: {"longest": "four", "recent": [1, 2], "items": 1, "text": "f"},
        g=lambda s: {"longest": "two", "recent": [3], "items": 2, "text": "g"},
        h=lambda s: {"longest": s["longest"] + "!", "items": len(s["items"])},
    )


@case(invoke({"flag": False, "share": 0.25}))
def flags_and_fractions(d: Dialect) -> Any:
    return d.draw(Reduced, "START > f, f > END", f=lambda s: {"flag": not s["flag"], "share": s["share"]})


@case(invoke({}))
def an_input_without_keys_leaves_the_zeros(d: Dialect) -> Any:
    return d.draw(Reduced, "START > f, f > END", f=lambda s: {"items": len(s)})


@case(invoke({"name": "x", "lines": ["one"]}))
def a_dataclass(d: Dialect) -> Any:
    return d.draw(
        UpdateCommand,
        "START > f, f > g, g > END",
        f=lambda s: {"lines": [s.name, str(s.paid)]},
        g=lambda s: {"paid": True},
    )


@case(invoke({"name": "x"}))
def a_dataclass_that_is_returned(d: Dialect) -> Any:
    return d.draw(
        UpdateCommand, "START > f, f > END", f=lambda s: UpdateCommand(name=s.name + "!", lines=["one"], paid=True)
    )


@case(invoke(UpdateCommand(name="x", lines=["one"])))
def a_dataclass_as_the_input(d: Dialect) -> Any:
    return d.draw(UpdateCommand, "START > f, f > END", f=lambda s: {"lines": [s.name]})


@case(invoke({"name": "x", "lines": ["one"]}))
def a_pydantic_model(d: Dialect) -> Any:
    return d.draw(
        Invoice,
        "START > f, f > g, g > END",
        f=lambda s: {"lines": [s.name, str(s.paid)]},
        g=lambda s: {"paid": True},
    )


@case(invoke({"name": "x"}))
def a_pydantic_model_that_is_returned(d: Dialect) -> Any:
    return d.draw(Invoice, "START > f, f > END", f=lambda s: Invoice(name=s.name + "!", lines=["one"]))


@case(invoke(Invoice(name="x", lines=["one"])))
def a_pydantic_model_as_the_input(d: Dialect) -> Any:
    return d.draw(Invoice, "START > f, f > END", f=lambda s: {"lines": [s.name]})


@case(invoke({"total": 1}))
def a_list_with_a_write_to_each_channel(d: Dialect) -> Any:
    return d.draw(Reduced, "START > f, f > END", f=lambda s: d.several({"total": 1}, {"longest": "ab"}))


@case(invoke({"total": 1}))
def a_list_with_two_writes_to_one_channel(d: Dialect) -> Any:
    return d.draw(Reduced, "START > f, f > END", f=lambda s: d.several({"total": 1}, {"total": 2}))
