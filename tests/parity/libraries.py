"""stepgraph and LangGraph behind one interface, so that a test defines its graph once and runs it in both libraries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import langgraph.graph
import langgraph.types

import stepgraph

Node = Callable[..., Any]


@dataclass(frozen=True)
class Library:
    """The names of one library that graphs and operations use."""

    StateGraph: Any
    START: str
    END: str
    Command: Any
    Send: Any
    interrupt: Callable[[Any], Any]
    StateUpdate: Callable[..., Any]
    multiple_writes: Callable[..., Any]
    """Makes what a node returns to write more than once: a list of mappings, or of `Command`s in LangGraph."""

    def build(self, state: type, edges: str, /, **nodes: Node) -> Any:
        """Return a builder with edges such as ``"START > a, a+b > c, c > END"``, where ``a+b`` is a join of both."""
        builder = self.StateGraph(state)
        for name, function in nodes.items():
            builder.add_node(name, function)
        special_nodes = {"START": self.START, "END": self.END}
        for edge in filter(None, (text.strip() for text in edges.split(","))):
            source, target = (part.strip() for part in edge.split(">"))
            sources = [special_nodes.get(part, part) for part in source.split("+")]
            builder.add_edge(sources if len(sources) > 1 else sources[0], special_nodes.get(target, target))
        return builder


STEPGRAPH = Library(
    stepgraph.StateGraph,
    stepgraph.START,
    stepgraph.END,
    stepgraph.Command,
    stepgraph.Send,
    stepgraph.interrupt,
    lambda *update: update,
    lambda *updates: list(updates),
)
LANGGRAPH = Library(
    langgraph.graph.StateGraph,
    langgraph.graph.START,
    langgraph.graph.END,
    langgraph.types.Command,
    langgraph.types.Send,
    langgraph.types.interrupt,
    langgraph.types.StateUpdate,
    lambda *updates: [langgraph.types.Command(update=update) for update in updates],
)


@dataclass(frozen=True)
class ParityThread:
    """A thread of a graph in one of the libraries."""

    library: Library
    graph: Any
    """A compiled LangGraph graph, a `GraphClient` or a `MemoryRunner`: their async methods are the same."""
    config: Mapping[str, Any]

    async def history(self) -> list[Any]:
        """Return the thread's snapshots, newest first."""
        return [snapshot async for snapshot in self.graph.aget_state_history(self.config)]

    async def config_at(self, position: int | None) -> Mapping[str, Any]:
        """Return the config of a checkpoint, counted from the thread's first; for `None`, the thread's own config."""
        if position is None:
            return self.config
        config: Mapping[str, Any] = (await self.history())[::-1][position].config
        return config
