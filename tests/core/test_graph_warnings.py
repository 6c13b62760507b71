"""Tests of graphs that work, and of which a part looks like a mistake: `compile` warns, and says how to fix it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from typing_extensions import TypedDict

from stepgraph import END, START, StateGraph
from stepgraph.errors import GraphWarning
from stepgraph.testing import MemoryRunner
from tests.core.graphs import build


class State(TypedDict, total=False):
    text: str


def node(state: State) -> None: ...


def search(state: State) -> State:
    return {"text": "found"}


def builder() -> StateGraph:
    return build(State, "START > search", {"search": search})


def test_a_node_without_edges_ends_there() -> None:
    """It needs no edge to END, and `compile` does not warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        graph = builder().compile(name="g")
    runner = MemoryRunner(graph)
    assert runner.invoke({}, {"configurable": {"thread_id": "t"}}) == {"text": "found"}
    assert runner.get_state({"configurable": {"thread_id": "t"}}).next == ()


@pytest.mark.parametrize(
    ("add", "lost"),
    [
        (lambda b: b.add_node("lost", node), "'lost'"),
        (
            lambda b: b.add_node("lost", node).add_node("last", node).add_edge(["search", "lost"], "last"),
            "'last', 'lost'",
        ),
        (
            lambda b: b.add_node("a", node).add_node("lost", node).add_edge("a", "lost").add_edge("lost", "a"),
            "'a', 'lost'",
        ),
    ],
    ids=["without an edge", "behind a join that is never complete", "in a circle of its own"],
)
def test_a_node_that_nothing_leads_to_is_a_warning(add: Callable[[StateGraph], Any], lost: str) -> None:
    """The graph runs without the node. The warning points at the call of `compile`."""
    graph_builder = builder()
    add(graph_builder)
    message = f"Nothing leads from START to {lost} in graph 'g'. Add an edge, name it in a path_map"
    with pytest.warns(GraphWarning, match=re.escape(message)) as caught:
        graph = graph_builder.compile(name="g")
    assert {warning.filename for warning in caught} == {__file__}
    assert MemoryRunner(graph).invoke({}, {"configurable": {"thread_id": "t"}}) == {"text": "found"}


def test_a_router_decides_where_a_graph_begins() -> None:
    """`set_conditional_entry_point` is a conditional edge from START; a list of nodes begins all of them."""

    def enter(state: State) -> list[str]:
        return ["search", END]

    graph = StateGraph(State).add_node("search", search).set_conditional_entry_point(enter).compile(name="g")
    assert [branch.source for branch in graph.registry.spec.branches] == [START]
    assert MemoryRunner(graph).invoke({}, {"configurable": {"thread_id": "t"}}) == {"text": "found"}
    mapped = StateGraph(State).add_node("search", search)
    mapped.set_conditional_entry_point(lambda state: True, {True: "search", False: END})
    assert MemoryRunner(mapped.compile(name="g")).invoke({}, {"configurable": {"thread_id": "t"}}) == {"text": "found"}
