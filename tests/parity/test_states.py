"""States of every kind behave alike in stepgraph and LangGraph: reducers, zeros, dataclasses, models, return values."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import add, or_
from typing import Annotated, Any, TypedDict

import pytest
from pydantic import BaseModel

from tests.conftest import Stage
from tests.parity.cases import Case, Cases, observe_both
from tests.parity.libraries import Library
from tests.parity.operations import invoke

cases = Cases()
case = cases.case


def larger(left: int, right: int) -> int:
    return max(left, right)


def keep_longest(left: str, right: str) -> str:
    return right if len(right) > len(left) else left


def last_two(left: list[int], right: list[int]) -> list[int]:
    return (left + right)[-2:]


def append_item(left: list[int], right: int) -> list[int]:
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
    items: Annotated[list[int], append_item]
    flag: Annotated[bool, or_]
    share: Annotated[float, add]


@dataclass
class Purchase:
    name: str
    lines: Annotated[list[str], add] = field(default_factory=list)
    paid: bool = False


class Invoice(BaseModel):
    name: str
    lines: Annotated[list[str], add] = []
    paid: bool = False


@pytest.mark.parametrize("case", cases.params)
async def test_a_state_of_any_kind_behaves_as_in_langgraph(case: Case, stage: Stage) -> None:
    """Return values, heads and histories of each case are equal in both libraries."""
    ours, theirs = await observe_both(case, stage)
    assert ours.returned == theirs.returned
    assert ours.heads == theirs.heads
    assert ours.history == theirs.history


@case(invoke({"a": 1}), invoke({"b": "x"}))
def channels_without_reducers_keep_the_last_value(lib: Library) -> Any:
    return lib.build(Plain, "START > f, f > END", f=lambda s: {"a": s["a"] + 1, "c": [1]})


@case(invoke({"c": None}))
def a_none_that_a_node_writes(lib: Library) -> Any:
    return lib.build(Plain, "START > f, f > END", f=lambda s: {"c": None if s["c"] is None else [1]})


@case(invoke({"a": 1, "c": [1]}), invoke({"c": None}))
def a_none_in_a_further_input(lib: Library) -> Any:
    return lib.build(Plain, "START > f, f > END", f=lambda s: {"a": s["a"] + 1})


@case(invoke({"a": 1}))
def nodes_that_write_nothing(lib: Library) -> Any:
    return lib.build(Plain, "START > f, f > g, g > END", f=lambda s: None, g=lambda s: {})


@case(invoke({"total": 5}), invoke({"total": 5, "largest": 3}))
def sums_and_maxima_of_siblings(lib: Library) -> Any:
    return lib.build(
        Reduced,
        "START > f, START > g, f > END, g > END",
        f=lambda s: {"total": 1, "largest": 7},
        g=lambda s: {"total": 2, "largest": 4},
    )


@case(invoke({"largest": -5}))
def a_first_write_reduced_with_the_zero(lib: Library) -> Any:
    """The maximum of -5 and the zero of an int is 0."""
    return lib.build(Reduced, "START > f, f > END", f=lambda s: {"largest": -7})


@case(invoke({"words": {"x"}, "facts": {"x": 1}}))
def sets_and_mappings_are_merged_in_the_order_of_names(lib: Library) -> Any:
    return lib.build(
        Reduced,
        "START > g, START > f, f > END, g > END",
        g=lambda s: {"words": {"g"}, "facts": {"by": 2}},
        f=lambda s: {"words": {"f"}, "facts": {"by": 1, "x": 3}},
    )


@case(invoke({"longest": "a", "text": "in "}))
def user_defined_reducers(lib: Library) -> Any:
    return lib.build(
        Reduced,
        "START > f, START > g, f > h, g > h, h > END",
        f=lambda s: {"longest": "four", "recent": [1, 2], "items": 1, "text": "f"},
        g=lambda s: {"longest": "two", "recent": [3], "items": 2, "text": "g"},
        h=lambda s: {"longest": s["longest"] + "!", "items": len(s["items"])},
    )


@case(invoke({"flag": False, "share": 0.25}))
def bool_and_float_reducers(lib: Library) -> Any:
    return lib.build(Reduced, "START > f, f > END", f=lambda s: {"flag": not s["flag"], "share": s["share"]})


@case(invoke({}))
def an_input_without_keys(lib: Library) -> Any:
    return lib.build(Reduced, "START > f, f > END", f=lambda s: {"items": len(s)})


@case(invoke({"name": "x", "lines": ["one"]}))
def a_dataclass(lib: Library) -> Any:
    return lib.build(
        Purchase,
        "START > f, f > g, g > END",
        f=lambda s: {"lines": [s.name, str(s.paid)]},
        g=lambda s: {"paid": True},
    )


@case(invoke({"name": "x"}))
def a_dataclass_that_is_returned(lib: Library) -> Any:
    return lib.build(Purchase, "START > f, f > END", f=lambda s: Purchase(name=s.name + "!", lines=["one"], paid=True))


@case(invoke(Purchase(name="x", lines=["one"])))
def a_dataclass_as_the_input(lib: Library) -> Any:
    return lib.build(Purchase, "START > f, f > END", f=lambda s: {"lines": [s.name]})


@case(invoke({"name": "x", "lines": ["one"]}))
def a_pydantic_model(lib: Library) -> Any:
    return lib.build(
        Invoice,
        "START > f, f > g, g > END",
        f=lambda s: {"lines": [s.name, str(s.paid)]},
        g=lambda s: {"paid": True},
    )


@case(invoke({"name": "x"}))
def a_pydantic_model_that_is_returned(lib: Library) -> Any:
    return lib.build(Invoice, "START > f, f > END", f=lambda s: Invoice(name=s.name + "!", lines=["one"]))


@case(invoke(Invoice(name="x", lines=["one"])))
def a_pydantic_model_as_the_input(lib: Library) -> Any:
    return lib.build(Invoice, "START > f, f > END", f=lambda s: {"lines": [s.name]})


@case(invoke({"total": 1}))
def a_list_with_a_write_to_each_channel(lib: Library) -> Any:
    return lib.build(Reduced, "START > f, f > END", f=lambda s: lib.multiple_writes({"total": 1}, {"longest": "ab"}))


@case(invoke({"total": 1}))
def a_list_with_two_writes_to_one_channel(lib: Library) -> Any:
    return lib.build(Reduced, "START > f, f > END", f=lambda s: lib.multiple_writes({"total": 1}, {"total": 2}))
