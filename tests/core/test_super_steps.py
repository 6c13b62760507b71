"""Tests of super-steps: parallel nodes, joins, conditional edges, loops and the recursion limit."""

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
from tests.core.graphs import SPECIAL_NODES, THREAD, build


class State(TypedDict, total=False):
    log: Annotated[list[str], add]
    turns: Annotated[int, add]
    target: str


def writer(name: str) -> Callable[[State], dict[str, Any]]:
    """Return a node that logs this name."""
    return lambda state: {"log": [name], "turns": 1}


def logging_graph(edges: str, nodes: str, routes: dict[str, Callable[[State], Any]] | None = None) -> CompiledGraph:
    """Return a graph whose nodes log their names."""
    builder = build(State, edges, {name: writer(name) for name in nodes.split()})
    for source, router in (routes or {}).items():
        builder.add_conditional_edges(SPECIAL_NODES.get(source, source), router)
    return builder.compile(name="g")


def nodes_by_step(compiled: CompiledGraph, input_data: Any = None, **config: Any) -> list[list[str]]:
    """Run the graph and return the nodes of each super-step."""
    runner = MemoryRunner(compiled)
    runner.invoke(input_data or {}, {**THREAD, **config})
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
    "one source": ("START > a, a+a > b, b > END", "a b", [["a"], ["b"]]),
    "START among its sources": ("START > a, START+a > b, b > END", "a b", [["a"], ["b"]]),
    "a join before END": ("START > a, START > b, a+b > END", "a b", [["a", "b"]]),
    "a plain edge beside the join": (
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
    """A join waits over as many super-steps as its sources need, and fires once."""
    assert nodes_by_step(logging_graph(edges, nodes)) == expected


def test_edges_without_a_join_run_their_target_each_time() -> None:
    """Two plain edges to a node trigger it twice if their sources finish in different super-steps.

    If the sources finish together, the node runs once.
    """
    compiled = logging_graph("START > a, START > b, b > b2, a > c, b2 > c, c > END", "a b b2 c")
    assert nodes_by_step(compiled) == [["a", "b"], ["b2", "c"], ["c"]]


def test_a_join_resets_after_it_has_fired() -> None:
    """A join in a loop fires once per round, and each round waits for both sources again."""
    compiled = logging_graph(
        "START > a, START > b, b > slow, a+slow > c, slow > END",
        "a b slow c",
        {"c": lambda state: ["a", "b"] if state["log"].count("c") < 3 else END},
    )
    one_round = [["a", "b"], ["slow"], ["c"]]
    assert nodes_by_step(compiled) == [*one_round, *one_round, *one_round]


def test_a_source_that_finishes_twice_counts_once() -> None:
    """A join whose first source has finished twice still waits for the other."""
    compiled = logging_graph(
        "START > a, a+b > c, c > END",
        "a b c",
        {"a": lambda state: "a" if state["log"].count("a") < 3 else "b"},
    )
    assert nodes_by_step(compiled) == [["a"], ["a"], ["a"], ["b"], ["c"]]


def test_an_unfinished_join_continues_after_a_new_input() -> None:
    """Sources that finished before the new input count, as in LangGraph."""
    compiled = logging_graph("a+b > c, c > END", "a b c", {"START": lambda state: state["target"]})
    runner = MemoryRunner(compiled)
    runner.invoke({"target": "a"}, THREAD)
    assert runner.invoke({"target": "b"}, THREAD)["log"] == ["a", "b", "c"]


def test_plus_signs_in_node_names_do_not_confuse_joins() -> None:
    """A join of `a+b` and `c` is not a join of `a` and `b+c`."""
    builder = StateGraph(State)
    for name in ("a", "b+c", "a+b", "c", "last"):
        builder.add_node(name, writer(name))
    for name in ("a", "a+b"):
        builder.add_edge(START, name)
    builder.add_edge(["a", "b+c"], "last").add_edge(["a+b", "c"], "last").add_edge("last", END)
    builder.add_edge("a+b", "c").add_edge("c", "b+c").add_edge("b+c", END)
    assert nodes_by_step(builder.compile(name="g")) == [["a", "a+b"], ["c"], ["b+c", "last"], ["last"]]


ROUTES: dict[str, tuple[Callable[[State], Any], list[list[str]]]] = {
    "one name": (lambda state: "b", [["a"], ["b"]]),
    "several": (lambda state: ["c", "b"], [["a"], ["b", "c"]]),
    "a tuple": (lambda state: ("c", "b"), [["a"], ["b", "c"]]),
    "one twice": (lambda state: ["b", "b"], [["a"], ["b"]]),
    "END": (lambda state: END, [["a"]]),
    "END and a node": (lambda state: [END, "c"], [["a"], ["c"]]),
    "no destination": (lambda state: [], [["a"]]),
}


@pytest.mark.parametrize(("router", "expected"), ROUTES.values(), ids=ROUTES.keys())
def test_a_router_chooses_what_runs_next(router: Callable[[State], Any], expected: list[list[str]]) -> None:
    """A router returns one name, several, or END. Each node chosen runs once, in the order of the names."""
    assert nodes_by_step(logging_graph("START > a, b > END, c > END", "a b c", {"a": router})) == expected


def test_plain_and_conditional_edges_of_a_node_add_up() -> None:
    """All nodes that a node's plain and conditional edges name run next."""
    assert nodes_by_step(logging_graph("START > a, a > b, b > END, c > END", "a b c", {"a": lambda state: "c"})) == [
        ["a"],
        ["b", "c"],
    ]


def test_a_router_sees_its_own_nodes_writes_and_not_its_siblings() -> None:
    """A router receives the state at the start of the super-step with its own node's writes applied."""
    seen: dict[str, State] = {}

    def recording_router(name: str) -> Callable[[State], str]:
        return lambda state: seen.setdefault(name, state) and END

    compiled = logging_graph("START > a, START > b", "a b", {"a": recording_router("a"), "b": recording_router("b")})
    MemoryRunner(compiled).invoke({"log": ["in"]}, THREAD)
    assert seen == {"a": {"log": ["in", "a"], "turns": 1}, "b": {"log": ["in", "b"], "turns": 1}}


def test_a_router_that_mutates_its_state_does_not_affect_other_routers() -> None:
    """Each router of a node receives its own copy of the state."""
    builder = build(State, "START > a, b > END", {"a": writer("a"), "b": writer("b")})
    for _ in range(2):
        builder.add_conditional_edges(
            "a", lambda state: state["log"].append("x") or ("b" if len(state["log"]) > 2 else END)
        )
    assert nodes_by_step(builder.compile(name="g")) == [["a"]]


def test_a_router_of_start_sees_the_input_through_the_reducers() -> None:
    """A router of START chooses the first nodes of a run from the state with the input applied."""
    seen: list[State] = []

    async def enter(state: State) -> str:
        seen.append(state)
        return state["target"]

    compiled = logging_graph("a > END, b > END", "a b", {"START": enter})
    runner = MemoryRunner(compiled)
    assert runner.invoke({"target": "b", "log": ["in"]}, THREAD)["log"] == ["in", "b"]
    assert runner.invoke({"target": "a"}, THREAD)["log"] == ["in", "b", "a"]
    assert seen == [
        {"target": "b", "log": ["in"], "turns": 0},
        {"target": "a", "log": ["in", "b"], "turns": 1},
    ]


def test_a_router_may_end_a_run_before_any_node() -> None:
    """The input is applied to the state even if START's router ends the run at once."""
    runner = MemoryRunner(logging_graph("a > END", "a", {"START": lambda state: END}))
    assert runner.invoke({"target": "x"}, THREAD) == {"log": [], "target": "x", "turns": 0}
    assert runner.get_state(THREAD).next == ()


INVALID_DESTINATIONS: dict[str, tuple[Any, Any, str]] = {
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
    "a label that the mapping lacks": (
        "yse",
        {"yes": "search"},
        "returned 'yse', which its mapping does not name. Did you mean",
    ),
    "a label that is not hashable": (["a", ["b"]], {"a": "search"}, "returned ['b'], which its mapping does not name."),
}


@pytest.mark.parametrize(
    ("answer", "path_map", "message"), INVALID_DESTINATIONS.values(), ids=INVALID_DESTINATIONS.keys()
)
def test_an_unknown_destination_is_an_error_of_the_node(answer: Any, path_map: Any, message: str) -> None:
    """The error about a router's destination names router, node and near miss. Nothing of the super-step is applied."""
    builder = build(State, "START > a, search > END", {"a": writer("a"), "search": writer("search")})
    builder.add_conditional_edges("a", lambda state: answer, path_map)
    builder.add_conditional_edges("a", lambda state: END, ["search", END])
    runner = MemoryRunner(builder.compile(name="g"))
    with pytest.raises(InvalidUpdateError) as caught:
        runner.invoke({}, THREAD)
    assert isinstance(caught.value, NodeError)
    assert caught.value.node == "a"
    assert f"Router 'router' of node 'a' {message}" in caught.value.message
    assert runner.get_state(THREAD).next == ("a",)


async def test_the_nodes_of_a_super_step_run_concurrently() -> None:
    """Two nodes of a super-step that wait for each other both finish."""
    met = asyncio.Barrier(2)

    async def wait(state: State) -> dict[str, Any]:
        await asyncio.wait_for(met.wait(), 5)
        return {"log": ["met"]}

    runner = MemoryRunner(
        build(State, "START > a, START > b, a > END, b > END", {"a": wait, "b": wait}).compile(name="g")
    )
    assert (await runner.ainvoke({}, THREAD))["log"] == ["met", "met"]


@pytest.mark.parametrize("pauses", [(0, 0.01, 0.02), (0.02, 0.01, 0), (0.01, 0.02, 0)])
async def test_writes_are_applied_in_the_order_of_node_names(pauses: tuple[float, ...]) -> None:
    """The order in which nodes finish and the order of the edges do not change the order of writes."""

    def after(pause: float, name: str) -> Callable[[State], Any]:
        async def wait(state: State) -> dict[str, Any]:
            await asyncio.sleep(pause)
            return {"log": [name]}

        return wait

    nodes = {name: after(pause, name) for name, pause in zip("abc", pauses, strict=True)}
    runner = MemoryRunner(
        build(State, "START > c, START > a, START > b, a > END, b > END, c > END", nodes).compile(name="g")
    )
    assert (await runner.ainvoke({}, THREAD))["log"] == ["a", "b", "c"]


def looping(turns: int) -> CompiledGraph:
    return logging_graph("START > a", "a", {"a": lambda state: "a" if state["turns"] < turns else END})


def test_a_loop_runs_until_its_router_ends_it() -> None:
    """The default recursion limit allows ten thousand super-steps."""
    assert nodes_by_step(looping(30)) == [["a"]] * 30
    assert DEFAULT_RECURSION_LIMIT == 10_000


@pytest.mark.parametrize(("limit", "turns"), [(1, 1), (5, 5), (6, 5)])
def test_a_run_may_take_exactly_as_many_super_steps_as_its_limit(limit: int, turns: int) -> None:
    """The recursion limit counts super-steps of nodes, and neither the input nor the end."""
    assert nodes_by_step(looping(turns), recursion_limit=limit) == [["a"]] * turns


def test_a_thread_that_reached_its_recursion_limit_can_be_resumed() -> None:
    """The error about the limit names limit, next node and fix. Each resume has the full limit, and loses no step."""
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
