"""The mode in which a test's imports are changed: graphs are built by `stepgraph.StateGraph`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import langgraph.graph
from adapter.not_applicable import not_applicable
from adapter.presentation import zeros_of
from adapter.server_runner import graph_name
from adapter.surface import Surface

import stepgraph
import stepgraph.errors

TRANSLATED = {"Interrupt", "StateSnapshot", "RunnableConfig"}
"""Names that tests compare with what they get: `presentation` makes it LangGraph's."""


class Graph(Surface):
    """A graph compiled by stepgraph."""

    def __init__(self, compiled: stepgraph.CompiledGraph, checkpointer: Any, zeros: Mapping[str, Any]) -> None:
        self.compiled = compiled
        self.checkpointer = checkpointer
        self.zeros = zeros

    def __getattr__(self, name: str) -> Any:
        return getattr(self.compiled, name)


class StateGraph(stepgraph.StateGraph):
    """stepgraph's builder, whose graphs have LangGraph's methods."""

    def __init__(self, state_schema: Any, *arguments: Any, **options: Any) -> None:
        super().__init__(state_schema, *arguments, **options)
        self._zeros = zeros_of(langgraph.graph.StateGraph(state_schema))

    def add_node(self, node: Any, action: Any = None, **options: Any) -> Any:
        """Add a node, unless it is a graph itself."""
        if isinstance(node, Graph) or isinstance(action, Graph):
            not_applicable("subgraphs")
        return super().add_node(node, action, **options)

    def compile(self, checkpointer: Any = None, *, name: str = "LangGraph", **options: Any) -> Any:
        """Compile the graph. The checkpointer says which graphs share threads."""
        if options.pop("transformers", None):
            not_applicable("streams, but for values and updates")
        return Graph(super().compile(name=graph_name(name), **options), checkpointer, self._zeros)


def names() -> dict[str, Any]:
    """Return what stands for LangGraph's names: all that stepgraph has under the same name."""
    found = {name: getattr(stepgraph, name) for name in stepgraph.__all__ if name not in TRANSLATED}
    raised = {"NodeTimeoutError": stepgraph.errors.NodeTimeoutError}  # in nodes
    return {**found, **raised, "StateGraph": StateGraph, "CompiledStateGraph": Graph}
