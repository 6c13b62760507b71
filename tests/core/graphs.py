"""What the tests of the core share: the config of a thread, and graphs drawn in a line of text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from typing_extensions import TypedDict

from stepgraph import END, START, StateGraph
from stepgraph.graph.compiled import CompiledGraph

THREAD: dict[str, Any] = {"configurable": {"thread_id": "t1"}}

NAMES = {"START": START, "END": END}


def draw(state: type, edges: str, nodes: Mapping[str, Callable[..., Any]], *, name: str = "g") -> StateGraph:
    """A builder from edges such as ``"START > a, a+b > c, c > END"``; ``a+b`` waits for both."""
    builder = StateGraph(state)
    for node, function in nodes.items():
        builder.add_node(node, function)
    for edge in filter(None, (text.strip() for text in edges.split(","))):
        source, target = (part.strip() for part in edge.split(">"))
        sources = [NAMES.get(part, part) for part in source.split("+")]
        builder.add_edge(sources if len(sources) > 1 else sources[0], NAMES.get(target, target))
    return builder


def graph(state: type, edges: str, **nodes: Callable[..., Any]) -> CompiledGraph:
    """`draw`, compiled."""
    return draw(state, edges, nodes).compile(name="g")


def state_of(keys: Mapping[str, Any]) -> type:
    """A `TypedDict` made on the spot, of keys none of which is required."""
    return TypedDict("State", dict(keys), total=False)  # type: ignore[operator, no-any-return]
