"""The mode in which graphs are LangGraph's own, and handed to `stepgraph.adopt` when they run."""

from __future__ import annotations

from collections.abc import Mapping
from functools import wraps
from typing import Any
from weakref import WeakKeyDictionary

import langgraph.graph
import langgraph.prebuilt
from adapter.presentation import zeros_of
from adapter.server_runner import graph_name
from adapter.surface import INSIDE, Surface
from langgraph.graph.state import CompiledStateGraph

import stepgraph

_ADOPTED: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


class AdoptedGraph(CompiledStateGraph):
    """A graph compiled by LangGraph. Outside of a node, stepgraph runs it; inside, LangGraph does, as a node's body."""

    @property
    def zeros(self) -> Mapping[str, Any]:
        """What LangGraph shows of the state before anything is written."""
        return zeros_of(self.builder)

    @property
    def compiled(self) -> Any:
        """The graph, adopted by stepgraph when it is first used."""
        if self not in _ADOPTED:
            _ADOPTED[self] = stepgraph.adopt(self, name=graph_name(self.name))
        return _ADOPTED[self]


def _inside_or_ours(name: str) -> Any:
    ours, theirs = getattr(Surface, name), getattr(CompiledStateGraph, name)

    @wraps(ours)
    def method(self: Any, *arguments: Any, **options: Any) -> Any:
        return (theirs if INSIDE.get() else ours)(self, *arguments, **options)

    return method


for _name, _method in vars(Surface).items():  # not a base class: a graph's class can only be changed for one alike
    if callable(_method):
        setattr(AdoptedGraph, _name, _method if _name.startswith("_") else _inside_or_ours(_name))


class StateGraph(langgraph.graph.StateGraph):
    """LangGraph's builder, whose graphs stepgraph runs."""

    def __class_getitem__(cls, types: Any) -> Any:
        return cls

    def compile(self, *arguments: Any, **options: Any) -> Any:
        """Compile the graph with LangGraph."""
        return _run_by_stepgraph(super().compile(*arguments, **options))


def _run_by_stepgraph(graph: CompiledStateGraph) -> CompiledStateGraph:
    graph.__class__ = AdoptedGraph
    return graph


def create_react_agent(*arguments: Any, **options: Any) -> Any:
    """Build LangGraph's prebuilt agent."""
    return _run_by_stepgraph(langgraph.prebuilt.create_react_agent(*arguments, **options))


def names() -> dict[str, Any]:
    """Return what stands for LangGraph's names."""
    return {"StateGraph": StateGraph, "create_react_agent": create_react_agent}
