"""Small graphs that several test modules use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from stepgraph import END, START, StateGraph
from stepgraph.graph.compiled import CompiledGraph


def chain(state: type, nodes: Mapping[str, Callable[..., Any]], *, name: str, **options: Any) -> CompiledGraph:
    """Return a graph of nodes that run one after the other; every node gets the options."""
    builder = StateGraph(state)
    for node, function in nodes.items():
        builder.add_node(node, function, **options)
    names = [START, *nodes, END]
    for source, target in pairwise(names):
        builder.add_edge(source, target)
    return builder.compile(name=name)


def side_by_side(
    state: type, nodes: Mapping[str, Callable[..., Any]], last: Callable[..., Any], *, name: str
) -> CompiledGraph:
    """Return a graph whose nodes run in one super-step, and whose last node runs when all of them have finished."""
    builder = StateGraph(state)
    for node, function in nodes.items():
        builder.add_node(node, function)
        builder.add_edge(START, node)
    builder.add_node("last", last)
    builder.add_edge(list(nodes), "last")
    return builder.add_edge("last", END).compile(name=name)
