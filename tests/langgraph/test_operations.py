"""Time travel, updates, breakpoints and resumes of adopted graphs, as LangGraph does them."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Send

import stepgraph
from stepgraph.testing import MemoryRunner

CONFIG: Any = {"configurable": {"thread_id": "t"}}

Operations = Callable[[Any], list[Any]]


class Log(TypedDict):
    """A state with a list that grows, and a number."""

    log: Annotated[list[str], operator.add]
    number: int


def graph(**options: Any) -> Any:
    """Return a graph: ``a`` leads to ``b`` if the number is odd, sends to ``c`` if it is even."""

    def route(state: Log) -> Any:
        return "b" if state["number"] % 2 else [Send("c", {"number": state["number"]}), Send("c", {"number": 0})]

    def note(name: str) -> Any:
        return lambda state: {"log": [f"{name} {state['number']}"]}

    builder = StateGraph(Log)
    for name in "abc":
        builder.add_node(name, note(name))
    builder.add_edge(START, "a").add_conditional_edges("a", route, ["b", "c"])
    return builder.compile(**options)


def in_both(operations: Operations, **options: Any) -> tuple[list[Any], list[Any]]:
    """Return what operations see here, and in LangGraph."""
    ours = operations(MemoryRunner(stepgraph.adopt(graph(**options), "ours")))
    return ours, operations(graph(checkpointer=InMemorySaver(), **options))


def test_an_update_asks_the_routers_of_its_author() -> None:
    """The node does not run, but what follows from its values does: a node, or tasks that are sent."""

    def operations(graph: Any) -> list[Any]:
        graph.invoke({"log": ["in"], "number": 1}, CONFIG)
        graph.update_state(CONFIG, {"log": ["by hand"], "number": 3}, as_node="a")
        odd = graph.get_state(CONFIG)
        graph.update_state(CONFIG, {"number": 4}, as_node="a")
        even = graph.get_state(CONFIG)
        return [odd.values, odd.next, even.values, even.next, graph.invoke(None, CONFIG)]

    ours, theirs = in_both(operations)
    assert ours == theirs


def test_a_thread_runs_again_from_any_checkpoint() -> None:
    """`invoke(None, config)` with a checkpoint id, and a fork by an update there."""

    def operations(graph: Any) -> list[Any]:
        graph.invoke({"log": ["in"], "number": 2}, CONFIG)
        before_a = next(each for each in graph.get_state_history(CONFIG) if each.next == ("a",))
        again = graph.invoke(None, before_a.config)
        forked = graph.update_state(before_a.config, {"number": 5})
        return [again, graph.invoke(None, forked)]

    ours, theirs = in_both(operations)
    assert ours == theirs


def test_breakpoints_that_langgraph_was_given_hold_here() -> None:
    """`compile(interrupt_before=..., interrupt_after=...)`."""

    def operations(graph: Any) -> list[Any]:
        seen = [graph.invoke({"log": [], "number": 1}, CONFIG)["log"], graph.get_state(CONFIG).next]
        seen += [graph.invoke(None, CONFIG)["log"], graph.get_state(CONFIG).next]
        return [*seen, graph.invoke(None, CONFIG)["log"]]

    ours, theirs = in_both(operations, interrupt_before=["b"], interrupt_after=["a"])
    assert [each for each in ours if each != ()][-1] == theirs[-1]
    assert ours[:2] == theirs[:2]


def test_a_fork_on_a_new_thread_leaves_the_old_one() -> None:
    """What LangGraph does not have works on adopted graphs, too."""
    runner = MemoryRunner(stepgraph.adopt(graph(), "forked"))
    runner.invoke({"log": ["in"], "number": 1}, CONFIG)
    first = next(each for each in runner.get_state_history(CONFIG) if each.next == ("a",))
    forked = runner.fork(first.config, {"number": 2}, as_node="human", thread_id="other")
    assert forked["log"] == ["in", "a 2", "c 2", "c 0"]
    assert runner.get_state(CONFIG).values["log"] == ["in", "a 1", "b 1"]


@pytest.mark.parametrize("durability", ["sync", "async"])
def test_the_durability_is_the_graphs(durability: Any) -> None:
    """`adopt` takes it, as `compile` does."""
    adopted = stepgraph.adopt(graph(), "durable", durability=durability)
    assert adopted.registry.spec.durability == durability
