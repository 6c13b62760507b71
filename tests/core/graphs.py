"""Helpers for the core tests: the config of a thread, and builders of graphs from a line of edge text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from typing_extensions import TypedDict

from stepgraph import END, START, StateGraph
from stepgraph.graph.compiled import CompiledGraph

THREAD: dict[str, Any] = {"configurable": {"thread_id": "t1"}}

SPECIAL_NODES = {"START": START, "END": END}


def build(state: type, edges: str, nodes: Mapping[str, Callable[..., Any]], *, name: str = "g") -> StateGraph:
    """Return a builder with edges such as ``"START > a, a+b > c, c > END"``, where ``a+b`` is a join of both nodes."""
    builder = StateGraph(state)
    for node, function in nodes.items():
        builder.add_node(node, function)
    for edge in filter(None, (text.strip() for text in edges.split(","))):
        source, target = (part.strip() for part in edge.split(">"))
        sources = [SPECIAL_NODES.get(part, part) for part in source.split("+")]
        builder.add_edge(sources if len(sources) > 1 else sources[0], SPECIAL_NODES.get(target, target))
    return builder


def graph(state: type, edges: str, **nodes: Callable[..., Any]) -> CompiledGraph:
    """Return the graph that `build` describes, compiled under the name ``g``."""
    return build(state, edges, nodes).compile(name="g")


def state_of(keys: Mapping[str, Any]) -> type:
    """Return a `TypedDict` with these keys, none of them required."""
    return TypedDict("State", dict(keys), total=False)  # type: ignore[operator, no-any-return]
