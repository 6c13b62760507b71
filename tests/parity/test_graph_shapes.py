"""Graphs of every shape run alike in stepgraph and LangGraph: chains, parallel nodes, joins, loops and routers."""

from __future__ import annotations

from operator import add
from typing import Annotated, Any, Literal, TypedDict

import pytest

from tests.conftest import Stage
from tests.parity.cases import Case, Cases, nodes, observe_both
from tests.parity.libraries import Library
from tests.parity.operations import invoke, resume

cases = Cases()
case = cases.case


class Log(TypedDict):
    log: Annotated[list[str], add]


class Count(TypedDict):
    n: int
    log: Annotated[list[str], add]


@pytest.mark.parametrize("case", cases.params)
async def test_a_graph_of_any_shape_behaves_as_in_langgraph(case: Case, stage: Stage) -> None:
    """Return values, heads and histories of each case are equal in both libraries."""
    ours, theirs = await observe_both(case, stage)
    assert ours.returned == theirs.returned
    assert ours.heads == theirs.heads
    assert ours.history == theirs.history


@case(invoke({"log": ["in"]}))
def one_node(lib: Library) -> Any:
    return lib.build(Log, "START > a, a > END", **nodes("a"))


@case(invoke({"log": []}))
def a_chain_of_three(lib: Library) -> Any:
    return lib.build(Log, "START > c, c > b, b > a, a > END", **nodes("a b c"))


@case(invoke({"n": 1}), invoke({"n": 10}), invoke({"log": ["x"]}))
def further_inputs_on_a_thread(lib: Library) -> Any:
    return lib.build(
        Count, "START > a, a > b, b > END", a=lambda s: {"n": s["n"] + 1}, b=lambda s: {"log": [str(s["n"])]}
    )


@case(invoke({"log": []}), resume())
def a_resume_of_a_finished_thread(lib: Library) -> Any:
    return lib.build(Log, "START > a, a > END", **nodes("a"))


@case(resume())
def a_resume_of_an_unknown_thread(lib: Library) -> Any:
    return lib.build(Log, "START > a, a > END", **nodes("a"))


@case(invoke({"log": []}))
def parallel_nodes_without_a_join(lib: Library) -> Any:
    return lib.build(Log, "START > c, START > b, START > a, a > END, b > END, c > END", **nodes("a b c"))


@case(invoke({"log": []}))
def parallel_nodes_with_plain_edges_to_one_node(lib: Library) -> Any:
    return lib.build(Log, "START > a, START > b, a > z, b > z, z > END", **nodes("a b z"))


@case(invoke({"log": []}))
def plain_edges_from_branches_of_different_length(lib: Library) -> Any:
    """The last node runs twice, once for each of its edges."""
    return lib.build(Log, "START > a, START > b, b > b2, a > z, b2 > z, z > END", **nodes("a b b2 z"))


@case(invoke({"log": []}), invoke({"log": ["again"]}))
def a_join_of_branches_of_different_length(lib: Library) -> Any:
    return lib.build(Log, "START > a, START > b, b > b2, b2 > b3, a+b3 > z, z > END", **nodes("a b b2 b3 z"))


@case(invoke({"log": []}))
def nested_joins(lib: Library) -> Any:
    return lib.build(
        Log,
        "START > a, START > b, START > c, a+b > ab, ab+c > abc, abc > END",
        **nodes("a b c ab abc"),
    )


@case(invoke({"log": []}))
def two_joins_of_one_source(lib: Library) -> Any:
    return lib.build(Log, "START > a, START > b, START > c, a+b > x, b+c > y, x > END, y > END", **nodes("a b c x y"))


@case(invoke({"log": []}))
def a_join_and_a_plain_edge_into_one_node(lib: Library) -> Any:
    return lib.build(Log, "START > a, START > b, b > c, a+c > z, a > z, z > END", **nodes("a b c z"))


@case(invoke({"n": 0}))
def a_join_inside_a_loop(lib: Library) -> Any:
    g = lib.build(
        Count,
        "START > split, split > a, split > b, b > b2, a+b2 > z",
        split=lambda s: {"n": s["n"] + 1},
        **nodes("a b b2 z"),
    )
    return g.add_conditional_edges("z", lambda s: "split" if s["n"] < 3 else lib.END, ["split", lib.END])


@case(invoke({"n": 0}), invoke({"n": 7}))
def a_join_that_the_first_run_leaves_unfinished(lib: Library) -> Any:
    """Its first run finishes only one source. The second run shows whether that source still counts."""
    g = lib.build(
        Count, "START > a, START > r, b > END, other > END, a+b > z, z > END", r=lambda s: None, **nodes("a b other z")
    )
    return g.add_conditional_edges("r", lambda s: "other" if s["n"] == 0 else "b", ["other", "b"])


@case(invoke({"n": 0}))
def a_loop_with_a_lambda_as_router(lib: Library) -> Any:
    g = lib.build(Count, "START > a", a=lambda s: {"n": s["n"] + 1, "log": [str(s["n"])]})
    return g.add_conditional_edges("a", lambda s: "a" if s["n"] < 4 else lib.END)


@case(invoke({"n": 0}))
def a_loop_of_two_nodes(lib: Library) -> Any:
    g = lib.build(Count, "START > a, b > a", a=lambda s: {"n": s["n"] + 1}, **nodes("b"))
    return g.add_conditional_edges("a", lambda s: s["n"] >= 3, {True: lib.END, False: "b"})


@case(invoke({"n": 1}), invoke({"n": 2}))
def a_mapping_from_a_routers_return_values_to_nodes(lib: Library) -> Any:
    g = lib.build(Count, "START > a, odd > END, even > END", a=lambda s: None, **nodes("odd even"))
    return g.add_conditional_edges("a", lambda s: s["n"] % 2, {1: "odd", 0: "even"})


@case(invoke({"n": 1}))
def a_router_that_returns_several_names(lib: Library) -> Any:
    g = lib.build(Count, "START > a, x > z, y > z, z > END", a=lambda s: {"n": 2}, **nodes("x y z"))
    return g.add_conditional_edges("a", lambda s: ["y", "x"] if s["n"] == 2 else "x", ["x", "y"])


@case(invoke({"n": 1}))
def a_router_that_returns_a_name_and_end(lib: Library) -> Any:
    g = lib.build(Count, "START > a, x > END", a=lambda s: None, **nodes("x"))
    return g.add_conditional_edges("a", lambda s: ["x", lib.END], ["x", lib.END])


@case(invoke({"n": 1}))
def a_router_that_returns_one_name_twice(lib: Library) -> Any:
    g = lib.build(Count, "START > a, x > END", a=lambda s: None, **nodes("x"))
    return g.add_conditional_edges("a", lambda s: ["x", "x"], ["x"])


@case(invoke({"n": 1}))
def a_router_that_returns_no_name(lib: Library) -> Any:
    g = lib.build(Count, "START > a, x > END", a=lambda s: None, **nodes("x"))
    return g.add_conditional_edges("a", lambda s: [], ["x"])


def _by_sign(state: Count) -> Literal["minus", "plus"]:
    return "minus" if state["n"] < 0 else "plus"


@case(invoke({"n": -1}), invoke({"n": 1}))
def a_router_with_destinations_in_its_annotation(lib: Library) -> Any:
    g = lib.build(Count, "START > a, minus > END, plus > END", a=lambda s: None, **nodes("minus plus"))
    return g.add_conditional_edges("a", _by_sign)


@case(invoke({"n": -1}), invoke({"n": 1}))
def a_router_of_start(lib: Library) -> Any:
    g = lib.build(Count, "minus > END, plus > END", **nodes("minus plus"))
    return g.add_conditional_edges(lib.START, _by_sign)


@case(invoke({"n": -1}), invoke({"n": 1}))
def a_router_of_start_that_may_return_end(lib: Library) -> Any:
    g = lib.build(Count, "x > END", **nodes("x"))
    return g.add_conditional_edges(lib.START, lambda s: "x" if s["n"] > 0 else lib.END, ["x", lib.END])


@case(invoke({"n": 1}))
def a_router_beside_plain_edges(lib: Library) -> Any:
    g = lib.build(Count, "START > a, a > always, always > END, maybe > END", a=lambda s: None, **nodes("always maybe"))
    return g.add_conditional_edges("a", lambda s: "maybe" if s["n"] else lib.END, ["maybe", lib.END])


@case(invoke({"n": 1}))
def two_routers_of_one_node(lib: Library) -> Any:
    g = lib.build(Count, "START > a, x > END, y > END", a=lambda s: None, **nodes("x y"))

    def first(state: Count) -> str:
        return "x"

    def second(state: Count) -> list[str]:
        return ["y", "x"]

    return g.add_conditional_edges("a", first, ["x"]).add_conditional_edges("a", second, ["x", "y"])


@case(invoke({"n": 0}))
def routers_that_see_their_own_nodes_writes_only(lib: Library) -> Any:
    """Two parallel nodes. Each router runs before the super-step is committed."""
    g = lib.build(Count, "START > a, START > b, x > END, y > END", **nodes("a b x y"))
    for name in ("a", "b"):
        g.add_conditional_edges(name, lambda s: "x" if s["log"] == ["a"] else "y", ["x", "y"])
    return g


@case(invoke({"n": 0}))
def async_routers_and_nodes(lib: Library) -> Any:
    async def node(state: Count) -> dict[str, Any]:
        return {"n": state["n"] + 1, "log": ["node"]}

    async def router(state: Count) -> str:
        return lib.END if state["n"] > 1 else "node"

    return lib.build(Count, "START > node", node=node).add_conditional_edges("node", router, ["node", lib.END])


@case(invoke({"n": 0}))
def a_node_triggered_twice_in_one_super_step(lib: Library) -> Any:
    g = lib.build(Count, "START > a, START > b, a > z, z > END", **nodes("a b z"))
    return g.add_conditional_edges("b", lambda s: "z", ["z"])


@case(invoke({"n": 0}))
def an_entry_point_and_a_finish_point(lib: Library) -> Any:
    g = lib.StateGraph(Count)
    g.add_node("a", lambda s: {"n": 1})
    g.set_entry_point("a")
    g.set_finish_point("a")
    return g


@case(invoke({"n": 0}, recursion_limit=3), resume())
def a_resume_after_a_recursion_limit(lib: Library) -> Any:
    g = lib.build(Count, "START > a", a=lambda s: {"n": s["n"] + 1})
    return g.add_conditional_edges("a", lambda s: "a" if s["n"] < 8 else lib.END, ["a", lib.END])


@case(invoke({"n": 0}, recursion_limit=2), invoke({"n": 5}))
def a_further_input_after_a_recursion_limit(lib: Library) -> Any:
    g = lib.build(Count, "START > a", a=lambda s: {"n": s["n"] + 1})
    return g.add_conditional_edges("a", lambda s: "a" if s["n"] < 6 else lib.END, ["a", lib.END])
