"""What runs when: parallel nodes, joins, conditional edges, loops and their limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from operator import add
from typing import Annotated, Any

import pytest
from typing_extensions import TypedDict

from stepgraph import END, START, StateGraph
from stepgraph.engine.thread_view import DEFAULT_RECURSION_LIMIT
from stepgraph.errors import GraphRecursionError, InvalidUpdateError, NodeError
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.testing import MemoryRunner
from tests.core.graphs import NAMES, THREAD, draw


class State(TypedDict, total=False):
    log: Annotated[list[str], add]
    turns: Annotated[int, add]
    target: str


def writer(name: str) -> Callable[[State], dict[str, Any]]:
    return lambda state: {"log": [name], "turns": 1}


def drawn(edges: str, nodes: str, routes: dict[str, Callable[[State], Any]] | None = None) -> CompiledGraph:
    """A graph whose nodes each log their name."""
    builder = draw(State, edges, {name: writer(name) for name in nodes.split()})
    for source, router in (routes or {}).items():
        builder.add_conditional_edges(NAMES.get(source, source), router)
    return builder.compile(name="g")


def order(compiled: CompiledGraph, given: Any = None, **config: Any) -> list[list[str]]:
    """Who ran in each super-step."""
    runner = MemoryRunner(compiled)
    runner.invoke(given or {}, {**THREAD, **config})
    history = reversed(list(runner.get_state_history(THREAD)))
    return [list(s.metadata["writes"]) for s in history if s.metadata and s.metadata["writes"]][1:]


JOINS = {
    "two that finish together": ("START > a, START > b, a+b > c, c > END", "a b c", [["a", "b"], ["c"]]),
    "two that finish apart": (
        "START > a, START > b, a > a2, a2+b > c, c > END",
        "a a2 b c",
        [["a", "b"], ["a2"], ["c"]],
    ),
    "three over three super-steps": (
        "START > a, a > b, b > c, a+b+c > d, d > END",
        "a b c d",
        [["a"], ["b"], ["c"], ["d"]],
    ),
    "one source alone": ("START > a, a+a > b, b > END", "a b", [["a"], ["b"]]),
    "START among its sources": ("START > a, START+a > b, b > END", "a b", [["a"], ["b"]]),
    "straight to the end": ("START > a, START > b, a+b > END", "a b", [["a", "b"]]),
    "an edge beside it": (
        "START > a, START > b, b > d, a+d > c, a > c, c > END",
        "a b c d",
        [["a", "b"], ["c", "d"], ["c"]],
    ),
    "two joins of the same nodes": (
        "START > a, START > b, a+b > c, b+a > d, c > END, d > END",
        "a b c d",
        [["a", "b"], ["c", "d"]],
    ),
}


@pytest.mark.parametrize(("edges", "nodes", "expected"), JOINS.values(), ids=JOINS.keys())
def test_a_join_waits_for_all_its_sources(edges: str, nodes: str, expected: list[list[str]]) -> None:
    """Over as many super-steps as it takes, and fires once."""
    assert order(drawn(edges, nodes)) == expected


def test_edges_without_a_join_run_their_target_each_time() -> None:
    """Two plain edges to one node are two triggers when they come apart, and one when they come together."""
    compiled = drawn("START > a, START > b, b > b2, a > c, b2 > c, c > END", "a b b2 c")
    assert order(compiled) == [["a", "b"], ["b2", "c"], ["c"]]


def test_a_join_starts_anew_once_it_has_fired() -> None:
    """In a loop it fires once a round, and each round waits for both again."""
    compiled = drawn(
        "START > a, START > b, b > slow, a+slow > c, slow > END",
        "a b slow c",
        {"c": lambda state: ["a", "b"] if state["log"].count("c") < 3 else END},
    )
    round_ = [["a", "b"], ["slow"], ["c"]]
    assert order(compiled) == [*round_, *round_, *round_]


def test_a_source_that_finishes_twice_counts_once() -> None:
    """The join waits for the other, however often the first has come by."""
    compiled = drawn(
        "START > a, a+b > c, c > END",
        "a b c",
        {"a": lambda state: "a" if state["log"].count("a") < 3 else "b"},
    )
    assert order(compiled) == [["a"], ["a"], ["a"], ["b"], ["c"]]


def test_a_join_that_a_new_input_finds_half_way_goes_on() -> None:
    """It waits for as long as it takes, as in LangGraph: what arrived before the input counts."""
    compiled = drawn("a+b > c, c > END", "a b c", {"START": lambda state: state["target"]})
    runner = MemoryRunner(compiled)
    runner.invoke({"target": "a"}, THREAD)
    assert runner.invoke({"target": "b"}, THREAD)["log"] == ["a", "b", "c"]


def test_names_with_signs_in_them_do_not_mix_joins_up() -> None:
    """`a+b` and `c` are not `a` and `b+c`."""
    builder = StateGraph(State)
    for name in ("a", "b+c", "a+b", "c", "last"):
        builder.add_node(name, writer(name))
    for name in ("a", "a+b"):
        builder.add_edge(START, name)
    builder.add_edge(["a", "b+c"], "last").add_edge(["a+b", "c"], "last").add_edge("last", END)
    builder.add_edge("a+b", "c").add_edge("c", "b+c").add_edge("b+c", END)
    assert order(builder.compile(name="g")) == [["a", "a+b"], ["c"], ["b+c", "last"], ["last"]]


ROUTES: dict[str, tuple[Callable[[State], Any], list[list[str]]]] = {
    "one name": (lambda state: "b", [["a"], ["b"]]),
    "several": (lambda state: ["c", "b"], [["a"], ["b", "c"]]),
    "a tuple": (lambda state: ("c", "b"), [["a"], ["b", "c"]]),
    "one twice": (lambda state: ["b", "b"], [["a"], ["b"]]),
    "END": (lambda state: END, [["a"]]),
    "END and a node": (lambda state: [END, "c"], [["a"], ["c"]]),
    "nowhere": (lambda state: [], [["a"]]),
}


@pytest.mark.parametrize(("router", "expected"), ROUTES.values(), ids=ROUTES.keys())
def test_a_router_chooses_what_runs_next(router: Callable[[State], Any], expected: list[list[str]]) -> None:
    """A name, several, or END; whatever their order, nodes run by name and once."""
    assert order(drawn("START > a, b > END, c > END", "a b c", {"a": router})) == expected


def test_plain_and_conditional_edges_of_a_node_add_up() -> None:
    """All that any of them names runs."""
    assert order(drawn("START > a, a > b, b > END, c > END", "a b c", {"a": lambda state: "c"})) == [["a"], ["b", "c"]]


def test_a_router_sees_its_own_nodes_writes_and_not_its_siblings() -> None:
    """The state at the super-step's start, with what the node beside it wrote."""
    seen: dict[str, State] = {}

    def look_from(name: str) -> Callable[[State], str]:
        return lambda state: seen.setdefault(name, state) and END

    compiled = drawn("START > a, START > b", "a b", {"a": look_from("a"), "b": look_from("b")})
    MemoryRunner(compiled).invoke({"log": ["in"]}, THREAD)
    assert seen == {"a": {"log": ["in", "a"], "turns": 1}, "b": {"log": ["in", "b"], "turns": 1}}


def test_a_router_that_mutates_its_state_misleads_no_other() -> None:
    """Each gets a state of its own."""
    builder = draw(State, "START > a, b > END", {"a": writer("a"), "b": writer("b")})
    for _ in range(2):
        builder.add_conditional_edges(
            "a", lambda state: state["log"].append("x") or ("b" if len(state["log"]) > 2 else END)
        )
    assert order(builder.compile(name="g")) == [["a"]]


def test_a_router_of_start_sees_the_input_through_the_reducers() -> None:
    """It chooses where a run begins; each new input is asked again."""
    seen: list[State] = []

    async def enter(state: State) -> str:
        seen.append(state)
        return state["target"]

    compiled = drawn("a > END, b > END", "a b", {"START": enter})
    runner = MemoryRunner(compiled)
    assert runner.invoke({"target": "b", "log": ["in"]}, THREAD)["log"] == ["in", "b"]
    assert runner.invoke({"target": "a"}, THREAD)["log"] == ["in", "b", "a"]
    assert seen == [
        {"target": "b", "log": ["in"], "turns": 0},
        {"target": "a", "log": ["in", "b"], "turns": 1},
    ]


def test_a_router_may_end_a_run_before_any_node() -> None:
    """The input is in the state all the same."""
    runner = MemoryRunner(drawn("a > END", "a", {"START": lambda state: END}))
    assert runner.invoke({"target": "x"}, THREAD) == {"log": [], "target": "x", "turns": 0}
    assert runner.get_state(THREAD).next == ()


WRONG_TURNS: dict[str, tuple[Any, Any, str]] = {
    "an unknown node": (
        "serch",
        None,
        "leads to 'serch', which is not one of its destinations. Did you mean 'search'?",
    ),
    "not one of its list": ("a", ["search"], "leads to 'a', which is not one of its destinations. Known: 'search'."),
    "START": (START, None, "leads to '__start__', which is not one of its destinations."),
    "None": (None, None, "leads to None, which is not one of its destinations."),
    "a number": (7, None, "leads to 7, which is not one of its destinations."),
    "a set": ({"search"}, None, "leads to {'search'}, which is not one of its destinations."),
    "no label of the mapping": (
        "yse",
        {"yes": "search"},
        "returned 'yse', which its mapping does not name. Did you mean",
    ),
    "what no mapping can name": (["a", ["b"]], {"a": "search"}, "returned ['b'], which its mapping does not name."),
}


@pytest.mark.parametrize(("answer", "path_map", "told"), WRONG_TURNS.values(), ids=WRONG_TURNS.keys())
def test_an_unknown_destination_is_an_error_of_the_node(answer: Any, path_map: Any, told: str) -> None:
    """It names router and node, and the near miss; nothing of the super-step is applied."""
    builder = draw(State, "START > a, search > END", {"a": writer("a"), "search": writer("search")})
    builder.add_conditional_edges("a", lambda state: answer, path_map)
    builder.add_conditional_edges("a", lambda state: END, ["search", END])
    runner = MemoryRunner(builder.compile(name="g"))
    with pytest.raises(InvalidUpdateError) as caught:
        runner.invoke({}, THREAD)
    assert isinstance(caught.value, NodeError)
    assert caught.value.node == "a"
    assert f"Router 'router' of node 'a' {told}" in caught.value.message
    assert runner.get_state(THREAD).next == ("a",)


async def test_the_nodes_of_a_super_step_run_side_by_side() -> None:
    """Each waits for the other, so neither could finish alone; sync nodes too, off the event loop."""
    met = asyncio.Barrier(2)

    async def wait(state: State) -> dict[str, Any]:
        await asyncio.wait_for(met.wait(), 5)
        return {"log": ["met"]}

    runner = MemoryRunner(
        draw(State, "START > a, START > b, a > END, b > END", {"a": wait, "b": wait}).compile(name="g")
    )
    assert (await runner.ainvoke({}, THREAD))["log"] == ["met", "met"]


@pytest.mark.parametrize("pauses", [(0, 0.01, 0.02), (0.02, 0.01, 0), (0.01, 0.02, 0)])
async def test_writes_are_applied_in_the_order_of_the_names(pauses: tuple[float, ...]) -> None:
    """Whichever node finished first, and in whatever order the edges were drawn."""

    def after(pause: float, name: str) -> Callable[[State], Any]:
        async def wait(state: State) -> dict[str, Any]:
            await asyncio.sleep(pause)
            return {"log": [name]}

        return wait

    nodes = {name: after(pause, name) for name, pause in zip("abc", pauses, strict=True)}
    runner = MemoryRunner(
        draw(State, "START > c, START > a, START > b, a > END, b > END, c > END", nodes).compile(name="g")
    )
    assert (await runner.ainvoke({}, THREAD))["log"] == ["a", "b", "c"]


def looping(turns: int) -> CompiledGraph:
    return drawn("START > a", "a", {"a": lambda state: "a" if state["turns"] < turns else END})


def test_a_loop_runs_until_its_router_says_so() -> None:
    """The default limit leaves room for ten thousand super-steps."""
    assert order(looping(30)) == [["a"]] * 30
    assert DEFAULT_RECURSION_LIMIT == 10_000


@pytest.mark.parametrize(("limit", "turns"), [(1, 1), (5, 5), (6, 5)])
def test_a_limit_that_is_just_enough_is_enough(limit: int, turns: int) -> None:
    """It counts super-steps of nodes: neither the input nor the end is one."""
    assert order(looping(turns), recursion_limit=limit) == [["a"]] * turns


def test_super_steps_used_up_are_an_error_and_the_thread_can_go_on() -> None:
    """The error names limit, node and the mend; each resume has the limit anew, and no step is lost or repeated."""
    runner = MemoryRunner(looping(5))
    config = {**THREAD, "recursion_limit": 2}
    for step in (3, 5):
        with pytest.raises(
            GraphRecursionError, match=r"took the 2 super-steps .*\(next: 'a'\).*'recursion_limit'"
        ) as caught:
            runner.invoke({} if step == 3 else None, config)
        assert isinstance(caught.value, RecursionError)
        assert (caught.value.limit, caught.value.step) == (2, step)
        assert runner.get_state(THREAD).next == ("a",)
    assert runner.invoke(None, config)["turns"] == 5
    assert runner.get_state(THREAD).next == ()
