"""Graphs of every shape run the same here and in LangGraph: chains, fans, joins, loops, routers."""

from __future__ import annotations

from operator import add
from typing import Annotated, Any, Literal, TypedDict

import pytest

from tests.conftest import Stage
from tests.parity.cases import Case, Cases, both, nodes
from tests.parity.dialect import Dialect
from tests.parity.steps import invoke, resume

cases = Cases()
case = cases.case


class Log(TypedDict):
    log: Annotated[list[str], add]


class Count(TypedDict):
    n: int
    log: Annotated[list[str], add]


@pytest.mark.parametrize("case", cases.found)
async def test_a_graph_of_any_shape_tells_the_same_story(case: Case, stage: Stage) -> None:
    """Results, heads and histories are equal."""
    here, there = await both(case, stage)
    assert here.returned == there.returned
    assert here.heads == there.heads
    assert here.history == there.history


@case(invoke({"log": ["in"]}))
def one_node(d: Dialect) -> Any:
    return d.draw(Log, "START > a, a > END", **nodes("a"))


@case(invoke({"log": []}))
def a_chain_of_three(d: Dialect) -> Any:
    return d.draw(Log, "START > c, c > b, b > a, a > END", **nodes("a b c"))


@case(invoke({"n": 1}), invoke({"n": 10}), invoke({"log": ["x"]}))
def further_inputs_on_a_thread(d: Dialect) -> Any:
    return d.draw(Count, "START > a, a > b, b > END", a=lambda s: {"n": s["n"] + 1}, b=lambda s: {"log": [str(s["n"])]})


@case(invoke({"log": []}), resume())
def a_resume_of_a_finished_thread(d: Dialect) -> Any:
    return d.draw(Log, "START > a, a > END", **nodes("a"))


@case(resume())
def a_resume_of_an_unknown_thread(d: Dialect) -> Any:
    return d.draw(Log, "START > a, a > END", **nodes("a"))


@case(invoke({"log": []}))
def a_fan_without_a_join(d: Dialect) -> Any:
    return d.draw(Log, "START > c, START > b, START > a, a > END, b > END, c > END", **nodes("a b c"))


@case(invoke({"log": []}))
def a_fan_in_by_plain_edges(d: Dialect) -> Any:
    return d.draw(Log, "START > a, START > b, a > z, b > z, z > END", **nodes("a b z"))


@case(invoke({"log": []}))
def plain_edges_from_branches_of_unlike_length(d: Dialect) -> Any:
    """The last node runs twice: once for each arrival."""
    return d.draw(Log, "START > a, START > b, b > b2, a > z, b2 > z, z > END", **nodes("a b b2 z"))


@case(invoke({"log": []}), invoke({"log": ["again"]}))
def a_join_of_branches_of_unlike_length(d: Dialect) -> Any:
    return d.draw(Log, "START > a, START > b, b > b2, b2 > b3, a+b3 > z, z > END", **nodes("a b b2 b3 z"))


@case(invoke({"log": []}))
def nested_joins(d: Dialect) -> Any:
    return d.draw(
        Log,
        "START > a, START > b, START > c, a+b > ab, ab+c > abc, abc > END",
        **nodes("a b c ab abc"),
    )


@case(invoke({"log": []}))
def two_joins_of_one_source(d: Dialect) -> Any:
    return d.draw(Log, "START > a, START > b, START > c, a+b > x, b+c > y, x > END, y > END", **nodes("a b c x y"))


@case(invoke({"log": []}))
def a_join_and_a_plain_edge_into_one_node(d: Dialect) -> Any:
    return d.draw(Log, "START > a, START > b, b > c, a+c > z, a > z, z > END", **nodes("a b c z"))


@case(invoke({"n": 0}))
def a_join_inside_a_loop_resets(d: Dialect) -> Any:
    g = d.draw(
        Count,
        "START > split, split > a, split > b, b > b2, a+b2 > z",
        split=lambda s: {"n": s["n"] + 1},
        **nodes("a b b2 z"),
    )
    return g.add_conditional_edges("z", lambda s: "split" if s["n"] < 3 else d.END, ["split", d.END])


@case(invoke({"n": 0}), invoke({"n": 7}))
def a_join_that_never_completes(d: Dialect) -> Any:
    """What had arrived before a further input still counts, or not, in both."""
    g = d.draw(
        Count, "START > a, START > r, b > END, other > END, a+b > z, z > END", r=lambda s: None, **nodes("a b other z")
    )
    return g.add_conditional_edges("r", lambda s: "other" if s["n"] == 0 else "b", ["other", "b"])


@case(invoke({"n": 0}))
def a_loop_by_a_lambda(d: Dialect) -> Any:
    g = d.draw(Count, "START > a", a=lambda s: {"n": s["n"] + 1, "log": [str(s["n"])]})
    return g.add_conditional_edges("a", lambda s: "a" if s["n"] < 4 else d.END)


@case(invoke({"n": 0}))
def a_loop_of_two_nodes(d: Dialect) -> Any:
    g = d.draw(Count, "START > a, b > a", a=lambda s: {"n": s["n"] + 1}, **nodes("b"))
    return g.add_conditional_edges("a", lambda s: s["n"] >= 3, {True: d.END, False: "b"})


@case(invoke({"n": 1}), invoke({"n": 2}))
def a_mapping_renames_what_a_router_says(d: Dialect) -> Any:
    g = d.draw(Count, "START > a, odd > END, even > END", a=lambda s: None, **nodes("odd even"))
    return g.add_conditional_edges("a", lambda s: s["n"] % 2, {1: "odd", 0: "even"})


@case(invoke({"n": 1}))
def a_router_says_several_names(d: Dialect) -> Any:
    g = d.draw(Count, "START > a, x > z, y > z, z > END", a=lambda s: {"n": 2}, **nodes("x y z"))
    return g.add_conditional_edges("a", lambda s: ["y", "x"] if s["n"] == 2 else "x", ["x", "y"])


@case(invoke({"n": 1}))
def a_router_says_a_name_and_the_end(d: Dialect) -> Any:
    g = d.draw(Count, "START > a, x > END", a=lambda s: None, **nodes("x"))
    return g.add_conditional_edges("a", lambda s: ["x", d.END], ["x", d.END])


@case(invoke({"n": 1}))
def a_router_says_one_name_twice(d: Dialect) -> Any:
    g = d.draw(Count, "START > a, x > END", a=lambda s: None, **nodes("x"))
    return g.add_conditional_edges("a", lambda s: ["x", "x"], ["x"])


@case(invoke({"n": 1}))
def a_router_says_nothing(d: Dialect) -> Any:
    g = d.draw(Count, "START > a, x > END", a=lambda s: None, **nodes("x"))
    return g.add_conditional_edges("a", lambda s: [], ["x"])


def _by_sign(state: Count) -> Literal["minus", "plus"]:
    return "minus" if state["n"] < 0 else "plus"


@case(invoke({"n": -1}), invoke({"n": 1}))
def a_router_tells_its_destinations_by_its_annotation(d: Dialect) -> Any:
    g = d.draw(Count, "START > a, minus > END, plus > END", a=lambda s: None, **nodes("minus plus"))
    return g.add_conditional_edges("a", _by_sign)


@case(invoke({"n": -1}), invoke({"n": 1}))
def a_router_at_the_start(d: Dialect) -> Any:
    g = d.draw(Count, "minus > END, plus > END", **nodes("minus plus"))
    return g.add_conditional_edges(d.START, _by_sign)


@case(invoke({"n": -1}), invoke({"n": 1}))
def a_router_at_the_start_that_may_end_at_once(d: Dialect) -> Any:
    g = d.draw(Count, "x > END", **nodes("x"))
    return g.add_conditional_edges(d.START, lambda s: "x" if s["n"] > 0 else d.END, ["x", d.END])


@case(invoke({"n": 1}))
def a_router_beside_plain_edges(d: Dialect) -> Any:
    g = d.draw(Count, "START > a, a > always, always > END, maybe > END", a=lambda s: None, **nodes("always maybe"))
    return g.add_conditional_edges("a", lambda s: "maybe" if s["n"] else d.END, ["maybe", d.END])


@case(invoke({"n": 1}))
def two_routers_of_one_node(d: Dialect) -> Any:
    g = d.draw(Count, "START > a, x > END, y > END", a=lambda s: None, **nodes("x y"))

    def first(state: Count) -> str:
        return "x"

    def second(state: Count) -> list[str]:
        return ["y", "x"]

    return g.add_conditional_edges("a", first, ["x"]).add_conditional_edges("a", second, ["x", "y"])


@case(invoke({"n": 0}))
def a_router_sees_its_own_node_and_not_the_sibling(d: Dialect) -> Any:
    """Two nodes side by side; each router is asked before the super-step is committed."""
    g = d.draw(Count, "START > a, START > b, x > END, y > END", **nodes("a b x y"))
    for name in ("a", "b"):
        g.add_conditional_edges(name, lambda s: "x" if s["log"] == ["a"] else "y", ["x", "y"])
    return g


@case(invoke({"n": 0}))
def routers_and_nodes_that_are_async(d: Dialect) -> Any:
    async def node(state: Count) -> dict[str, Any]:
        return {"n": state["n"] + 1, "log": ["node"]}

    async def router(state: Count) -> str:
        return d.END if state["n"] > 1 else "node"

    return d.draw(Count, "START > node", node=node).add_conditional_edges("node", router, ["node", d.END])


@case(invoke({"n": 0}))
def a_node_called_twice_by_unlike_paths_in_one_super_step(d: Dialect) -> Any:
    g = d.draw(Count, "START > a, START > b, a > z, z > END", **nodes("a b z"))
    return g.add_conditional_edges("b", lambda s: "z", ["z"])


@case(invoke({"n": 0}))
def an_entry_and_a_finish_by_name(d: Dialect) -> Any:
    g = d.StateGraph(Count)
    g.add_node("a", lambda s: {"n": 1})
    g.set_entry_point("a")
    g.set_finish_point("a")
    return g


@case(invoke({"n": 0}, recursion_limit=3), resume())
def a_recursion_limit_and_going_on(d: Dialect) -> Any:
    g = d.draw(Count, "START > a", a=lambda s: {"n": s["n"] + 1})
    return g.add_conditional_edges("a", lambda s: "a" if s["n"] < 8 else d.END, ["a", d.END])


@case(invoke({"n": 0}, recursion_limit=2), invoke({"n": 5}))
def a_further_input_after_a_recursion_limit(d: Dialect) -> Any:
    g = d.draw(Count, "START > a", a=lambda s: {"n": s["n"] + 1})
    return g.add_conditional_edges("a", lambda s: "a" if s["n"] < 6 else d.END, ["a", d.END])
