"""Random graphs of nodes that lead on by edges, joins, routers, commands and sends, and of which some are deferred.

What a node does depends on what it gets alone, so both libraries run the same program.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from operator import add
from typing import Annotated, Any, TypedDict

from hypothesis import strategies as st

from tests.parity.libraries import Library

LOG_LIMIT = 14
"""The length of the log at which nodes lead nowhere any more, except by edges and joins."""

DEPTH_LIMIT = 2
"""How often a sent node may lead to another one."""


def last_three(left: list[str], right: list[str]) -> list[str]:
    """A reducer that only the graph's code has, and whose result depends on the order of the writes."""
    return [*left, *right][-3:]


class State(TypedDict, total=False):
    n: int
    log: Annotated[list[Any], add]
    last: Annotated[list[str], last_three]


@dataclass(frozen=True)
class Lead:
    """Where a node or one of its routers leads: to nodes, to `END`, or by sends, each with a number."""

    nodes: tuple[str, ...] = ()
    sends: tuple[tuple[str, int], ...] = ()

    def goto(self, lib: Library, view: Any) -> list[Any]:
        """Return it as a router returns it, after a node that got ``view``. Nowhere after many steps."""
        depth = view.get("depth", 0)
        if depth >= DEPTH_LIMIT or len(view.get("log", ())) >= LOG_LIMIT:
            return [lib.END]
        sends = [lib.Send(node, {"item": number, "depth": depth + 1}) for node, number in self.sends]
        return [*(lib.END if name == "END" else name for name in self.nodes), *sends]


@dataclass(frozen=True)
class Node:
    """What a node does."""

    kind: str
    command: Lead | None = None
    """Where its command leads; without one it returns a mapping."""
    router: Lead | None = None
    defer: bool = False


@dataclass
class ControlFlow:
    """A random graph that can be built in either library."""

    nodes: dict[str, Node]
    edges: set[tuple[str, str]] = field(default_factory=set)
    joins: list[tuple[list[str], str]] = field(default_factory=list)

    def build(self, lib: Library) -> Any:
        """Return a builder of the graph."""
        builder = lib.StateGraph(State)
        for name, node in self.nodes.items():
            builder.add_node(name, self._function(lib, name, node), defer=node.defer)
            if node.router is not None:
                builder.add_conditional_edges(name, _router(lib, node.router))
        for source, target in sorted(self.edges):
            builder.add_edge(lib.START if source == "START" else source, target)
        for sources, target in self.joins:
            builder.add_edge(sources, target)
        return builder

    def _function(self, lib: Library, name: str, node: Node) -> Callable[[Any], Any]:
        def function(view: Any) -> Any:
            said = f"{name}{view['item']}" if "item" in view else name
            update: Any = {"log": [said], "last": [said]}
            if node.kind == "interrupts":
                update["log"].append(lib.interrupt(said))
            elif node.kind == "writes nothing":
                update = None
            if node.command is None:
                return update
            command = lib.Command(update=update, goto=node.command.goto(lib, view))
            return [command, lib.Command(update={"log": ["also"]})] if node.kind == "writes twice" else command

        return function


def _router(lib: Library, lead: Lead) -> Callable[[Any], Any]:
    def router(view: Any) -> Any:
        return lead.goto(lib, view)

    return router


@st.composite
def control_flows(draw: st.DrawFn) -> ControlFlow:
    """Draw a graph of three to six nodes. Edges and joins lead forward; routers, commands and sends anywhere."""
    names = list("abcdef")[: draw(st.integers(3, 6))]
    kinds = st.sampled_from(["writes", "writes", "writes", "writes nothing", "writes twice", "interrupts"])
    leads = st.builds(
        Lead,
        st.lists(st.sampled_from([*names, "END"]), max_size=2).map(tuple),
        st.lists(st.tuples(st.sampled_from(names), st.integers(0, 9)), max_size=2).map(tuple),
    )
    rarely = st.sampled_from([False, False, True])
    graph = ControlFlow({})
    for name in names:
        kind = draw(kinds)
        may_loop = kind != "writes nothing"  # every round of a loop must add to the log
        graph.nodes[name] = Node(
            kind,
            draw(leads) if may_loop and draw(rarely) else None,
            draw(leads) if may_loop and draw(rarely) else None,
            draw(rarely),
        )
    for position, name in enumerate(names[:-1]):
        for target in draw(st.sets(st.sampled_from(names[position + 1 :]), max_size=2)):
            graph.edges.add((name, target))
    for _ in range(draw(st.integers(0, 2))):
        sources = sorted(draw(st.sets(st.sampled_from(names[:-1]), min_size=2, max_size=min(3, len(names) - 1))))
        target = draw(st.sampled_from(names[names.index(sources[-1]) + 1 :]))
        if (sources, target) not in graph.joins:
            graph.joins.append((sources, target))
    for name in draw(st.sets(st.sampled_from(names), min_size=1, max_size=2)):
        graph.edges.add(("START", name))
    return graph
