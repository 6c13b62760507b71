"""The two libraries under one vocabulary, so that a case draws its graph once and is told in both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import langgraph.graph
import langgraph.types

import stepgraph

Node = Callable[..., Any]


@dataclass(frozen=True)
class Dialect:
    """The names of one library."""

    StateGraph: Any
    START: str
    END: str
    Command: Any
    interrupt: Callable[[Any], Any]
    StateUpdate: Callable[..., Any]
    several: Callable[..., Any]
    """What a node returns to write more than once: a list of mappings here, of `Command`s in LangGraph."""

    def draw(self, state: type, edges: str, /, **nodes: Node) -> Any:
        """A builder from edges such as ``"START > a, a+b > c, c > END"``; ``a+b`` waits for both."""
        builder = self.StateGraph(state)
        for name, function in nodes.items():
            builder.add_node(name, function)
        named = {"START": self.START, "END": self.END}
        for edge in filter(None, (text.strip() for text in edges.split(","))):
            source, target = (part.strip() for part in edge.split(">"))
            sources = [named.get(part, part) for part in source.split("+")]
            builder.add_edge(sources if len(sources) > 1 else sources[0], named.get(target, target))
        return builder


HERE = Dialect(
    stepgraph.StateGraph,
    stepgraph.START,
    stepgraph.END,
    stepgraph.Command,
    stepgraph.interrupt,
    lambda *update: update,
    lambda *updates: list(updates),
)
THERE = Dialect(
    langgraph.graph.StateGraph,
    langgraph.graph.START,
    langgraph.graph.END,
    langgraph.types.Command,
    langgraph.types.interrupt,
    langgraph.types.StateUpdate,
    lambda *updates: [langgraph.types.Command(update=update) for update in updates],
)


@dataclass(frozen=True)
class Play:
    """A thread of a graph of one library, being played."""

    dialect: Dialect
    graph: Any
    """A LangGraph graph, or a `GraphClient`: the methods are the same."""
    config: Mapping[str, Any]

    async def history(self) -> list[Any]:
        """The thread's snapshots, newest first."""
        return [snapshot async for snapshot in self.graph.aget_state_history(self.config)]

    async def at(self, position: int | None) -> Mapping[str, Any]:
        """The config of a checkpoint, counted from the thread's first; of the thread, for `None`."""
        if position is None:
            return self.config
        config: Mapping[str, Any] = (await self.history())[::-1][position].config
        return config
