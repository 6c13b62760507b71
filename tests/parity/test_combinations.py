"""Combinations of joins, loops, routers, interrupts, defaults and updates behave alike in stepgraph and LangGraph."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import add
from typing import Annotated, Any, TypedDict

import pytest
from pydantic import BaseModel, Field

from tests.conftest import Stage
from tests.parity.cases import Case, Cases, failing_once, nodes, observe_both
from tests.parity.libraries import Library
from tests.parity.operations import answer, answer_each, bulk, invoke, replay, resume, update

cases = Cases()
case = cases.case


class Count(TypedDict):
    n: int
    log: Annotated[list[str], add]


@dataclass
class Purchase:
    name: str = "nobody"
    count: int = 3
    note: str | None = None
    tags: Annotated[list[str], add] = field(default_factory=lambda: ["new"])
    total: Annotated[int, add] = 5


class Invoice(BaseModel):
    name: str = "nobody"
    count: int = Field(default_factory=lambda: 3)
    note: str | None = None
    tags: Annotated[list[str], add] = ["new"]
    total: Annotated[int, add] = 5


@pytest.mark.parametrize("case", cases.params)
async def test_combined_features_behave_as_in_langgraph(case: Case, stage: Stage) -> None:
    """Return values, heads and histories of each case are equal in both libraries."""
    ours, theirs = await observe_both(case, stage)
    assert ours.returned == theirs.returned
    assert ours.heads == theirs.heads
    assert ours.history == theirs.history


def _chain(lib: Library) -> Any:
    return lib.build(Count, "START > a, a > b, b > END", **nodes("a b"))


def _join(lib: Library) -> Any:
    """A join of which one source is one super-step further from START than the other."""
    return lib.build(Count, "START > a, START > b, b > c, a+c > z, z > END", **nodes("a b c z"))


def _join_in_a_loop(lib: Library) -> Any:
    """A loop around a join of which one source interrupts. The answer ``stop`` ends the loop."""
    g = lib.build(
        Count,
        "START > split, split > ask, split > b, b > b2, ask+b2 > z",
        split=lambda s: {"n": s["n"] + 1},
        ask=lambda s: {"log": [lib.interrupt(f"round {s['n']}?")]},
        **nodes("b b2 z"),
    )
    return g.add_conditional_edges("z", lambda s: lib.END if "stop" in s["log"] else "split", ["split", lib.END])


def _two_interrupts_per_round(lib: Library) -> Any:
    def ask(state: Count) -> dict[str, Any]:
        return {"n": state["n"] + 1, "log": [lib.interrupt("first") + lib.interrupt("second")]}

    g = lib.build(Count, "START > ask", ask=ask)
    return g.add_conditional_edges("ask", lambda s: lib.END if s["n"] > 1 else "ask", ["ask", lib.END])


def _two_nodes_that_interrupt(lib: Library) -> Any:
    return lib.build(
        Count,
        "START > x, START > y, x+y > z, z > END",
        **nodes("z"),
        x=lambda s: {"log": [lib.interrupt("p")]},
        y=lambda s: {"log": [lib.interrupt("q")]},
    )


def _one_interrupt_per_round(lib: Library) -> Any:
    g = lib.build(Count, "START > ask", ask=lambda s: {"n": s["n"] + 1, "log": [lib.interrupt(s["n"])]})
    return g.add_conditional_edges("ask", lambda s: lib.END if s["n"] > 1 else "ask", ["ask", lib.END])


@case(invoke({"n": 0}), answer("a"), answer("b"), answer("stop"))
def a_join_in_a_loop_with_a_source_that_interrupts(lib: Library) -> Any:
    return _join_in_a_loop(lib)


@case(invoke({"n": 0}), answer("a"), replay(3), answer("stop"), replay(4), answer("c"))
def a_replay_of_an_unfinished_join_in_a_loop(lib: Library) -> Any:
    return _join_in_a_loop(lib)


@case(invoke({"n": 0}), update({"log": ["stop"]}, as_node="z"), resume(), invoke({"n": 7}), answer("stop"))
def a_loop_around_a_join_that_an_update_ends(lib: Library) -> Any:
    return _join_in_a_loop(lib)


@case(invoke({"n": 0}), resume(), resume())
def a_failure_beside_a_join_in_a_loop(lib: Library) -> Any:
    g = lib.build(
        Count,
        "START > split, split > a, split > b, a+b > z",
        split=lambda s: {"n": s["n"] + 1},
        b=failing_once(ConnectionError("x"), {"log": ["b"]}, after=0.2),
        z=lambda s: None,
        **nodes("a"),
    )
    return g.add_conditional_edges("z", lambda s: lib.END if s["n"] > 1 else "split", ["split", lib.END])


@case(invoke({"n": 1}), replay(1), update({"log": ["hand"]}, as_node="b", at=2), resume(), replay(4), invoke({"n": 3}))
def replays_and_updates_on_branches_of_a_join(lib: Library) -> Any:
    return _join(lib)


@case(invoke({"n": 0}), invoke({"n": 5}), replay(1))
def three_routers_of_one_node(lib: Library) -> Any:
    def first(state: Count) -> str:
        return "x"

    def second(state: Count) -> list[str]:
        return ["y", lib.END]

    def third(state: Count) -> Any:
        return "w" if state["n"] > 3 else []

    g = lib.build(Count, "START > a, x > z, y > z, w > z, z > END", a=lambda s: {"n": s["n"] + 1}, **nodes("x y w z"))
    for router, destinations in ((first, ["x"]), (second, ["y", lib.END]), (third, ["w"])):
        g.add_conditional_edges("a", router, destinations)
    return g


@case(invoke({"n": 0}), update({"n": 9}, as_node="a"), resume())
def an_update_as_a_node_with_two_routers_and_an_edge(lib: Library) -> Any:
    def first(state: Count) -> str:
        return "to x"

    def second(state: Count) -> Any:
        return "w" if state["n"] > 3 else []

    g = lib.build(
        Count, "START > a, a > y, x > z, y > z, w > z, z > END", a=lambda s: {"n": s["n"] + 1}, **nodes("x y w z")
    )
    return g.add_conditional_edges("a", first, {"to x": "x"}).add_conditional_edges("a", second, ["w"])


@case(invoke({"n": 1}, interrupt_before=["b"]), update(None, as_node="__end__"), invoke({"n": 2}), resume())
def an_update_as_end_followed_by_an_input(lib: Library) -> Any:
    return _chain(lib)


@case(invoke({"n": 1}), update(None, as_node="__end__"), invoke({"n": 2}), answer("x"))
def an_interrupt_that_an_update_as_end_discards(lib: Library) -> Any:
    return lib.build(Count, "START > ask, ask > END", ask=lambda s: {"log": [lib.interrupt(s["n"])]})


@case(invoke({"n": 1}), update(None, as_node="__end__"), resume(), invoke({"n": 2}))
def an_unfinished_join_that_an_update_as_end_discards(lib: Library) -> Any:
    flaky = failing_once(ConnectionError("x"), {"log": ["c"]})
    return lib.build(Count, "START > a, START > b, b > c, a+c > z, z > END", **{**nodes("a b z"), "c": flaky})


@case(invoke({"n": 1}), bulk([(None, "__end__")], [({"n": 4}, "__start__")]), resume())
def updates_as_end_and_as_start_in_one_bulk(lib: Library) -> Any:
    return _chain(lib)


@case(invoke({"n": 1}), bulk([({"n": 4}, "__start__")], [({"log": ["x"]}, "a"), ({"log": ["y"]}, "b")]), resume())
def updates_as_start_and_as_two_nodes_in_one_bulk(lib: Library) -> Any:
    return lib.build(Count, "START > a, START > b, a+b > z, z > END", **nodes("a b z"))


@case(invoke({"n": 0}), answer("a"), answer("b"), answer("c"), replay(2), answer("d"), answer("e"))
def two_interrupts_in_each_round_of_a_loop(lib: Library) -> Any:
    return _two_interrupts_per_round(lib)


@case(
    invoke({"n": 0}), answer("a"), update({"n": 1, "log": ["hand"]}, as_node="ask"), resume(), answer("b"), answer("c")
)
def an_update_between_two_interrupts(lib: Library) -> Any:
    return _two_interrupts_per_round(lib)


@case(invoke({"n": 0}), answer_each(p="P"), invoke({"n": 1}), answer_each(p="P", q="Q"))
def an_input_between_two_answers(lib: Library) -> Any:
    return _two_nodes_that_interrupt(lib)


@case(invoke({"n": 0}), answer_each(p="P"), resume(), answer_each(q="Q"))
def a_resume_between_two_answers(lib: Library) -> Any:
    return _two_nodes_that_interrupt(lib)


@case(invoke({"n": 0}), answer_each(p="P"), replay(1), answer_each(p="P2", q="Q2"))
def a_replay_between_two_answers(lib: Library) -> Any:
    return _two_nodes_that_interrupt(lib)


@case(invoke({"n": 0}), update({"n": 5}, as_node="y"), resume())
def an_update_as_the_finished_sibling_of_an_interrupt(lib: Library) -> Any:
    return lib.build(
        Count,
        "START > x, START > y, y > END, x > z, z > END",
        **nodes("y z"),
        x=lambda s: {"log": [lib.interrupt("p")]},
    )


@case(
    invoke({"n": 0}, interrupt_after=["ask"]),
    answer("x", interrupt_after=["ask"]),
    resume(interrupt_after=["ask"]),
    answer("y"),
)
def a_breakpoint_after_an_interrupt_in_a_loop(lib: Library) -> Any:
    return _one_interrupt_per_round(lib)


@case(
    invoke({"n": 0}, interrupt_before=["ask"]),
    resume(interrupt_before=["ask"]),
    answer("y", interrupt_before=["ask"]),
    resume(),
    answer("z"),
)
def a_breakpoint_before_an_interrupt_in_a_loop(lib: Library) -> Any:
    return _one_interrupt_per_round(lib)


@case(invoke({}), invoke({"count": 7}), update({"tags": ["hand"]}, as_node="f"), resume())
def a_dataclass_with_defaults(lib: Library) -> Any:
    return lib.build(
        Purchase,
        "START > f, f > g, g > END",
        f=lambda s: {"tags": [s.name, str(s.count), str(s.note), str(s.total)]},
        g=lambda s: {"total": 1},
    )


@case(invoke(Purchase()), invoke(Purchase(name="x", note="y")))
def a_dataclass_with_defaults_as_the_input(lib: Library) -> Any:
    return lib.build(Purchase, "START > f, f > END", f=lambda s: Purchase(name=s.name, total=s.count))


@case(invoke({}), invoke({"count": 7}), update({"tags": ["hand"]}, as_node="f"), resume())
def a_model_with_defaults(lib: Library) -> Any:
    return lib.build(
        Invoice,
        "START > f, f > g, g > END",
        f=lambda s: {"tags": [s.name, str(s.count), str(s.note), str(s.total)]},
        g=lambda s: {"total": 1},
    )


@case(invoke(Invoice()), invoke(Invoice(name="x", note="y")), invoke(Invoice(note=None)))
def a_model_with_defaults_as_the_input(lib: Library) -> Any:
    return lib.build(Invoice, "START > f, f > END", f=lambda s: Invoice(name=s.name, total=s.count))
