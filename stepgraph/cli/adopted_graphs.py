"""Graphs of LangGraph's in a module that a command loads: they are adopted by themselves.

A graph that was compiled without a name gets that of its file. Owns which values of a module are such graphs. LangGraph
is imported only if the module has imported it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from types import FunctionType, ModuleType
from typing import Any

from stepgraph.errors import UnknownGraphError
from stepgraph.graph.adopting import adopt_from_file, graph_name_of, is_langgraph
from stepgraph.graph.compiled import CompiledGraph

_adopted: dict[int, tuple[Any, CompiledGraph]] = {}
"""What has been adopted in this process, by the id of LangGraph's graph: one that is named twice is adopted once."""


def made_by(value: Any) -> Any:
    """Return what a function without parameters makes, if the value is one; otherwise the value."""
    is_factory = isinstance(value, FunctionType) and not inspect.signature(value).parameters
    return value() if is_factory and id(value) not in _adopted else value


def adopted_graph(module: ModuleType, value: Any, made: Any) -> CompiledGraph | None:
    """Return the adopted graph of a variable that holds a graph of LangGraph's, or a function that makes one.

    Args:
        module: the module that has the variable.
        value: the variable's value.
        made: the graph itself, of `made_by`.

    Returns:
        `None` if there is no such graph.
    """
    if id(value) in _adopted:
        return _adopted[id(value)][1]
    if not _langgraph_is_loaded() or not is_langgraph(made):
        return None
    adopted = adopt_from_file(made, module.__file__ or module.__name__)
    _adopted[id(value)] = (value, adopted)
    return adopted


def adopted_graphs(module: ModuleType, variables: Mapping[str, Any], place: str) -> dict[str, CompiledGraph]:
    """Return the adopted graphs of a module by the variables that hold compiled graphs of LangGraph's.

    Raises:
        UnknownGraphError: several have no name of their own, so that all would be named after the module.
    """
    if not _langgraph_is_loaded():
        return {}
    compiled = {name: value for name, value in variables.items() if is_langgraph(value, compiled=True)}
    unnamed = {id(value): name for name, value in compiled.items() if graph_name_of(value) is None}
    if len(unnamed) > 1:
        names = ", ".join(map(repr, unnamed.values()))
        raise UnknownGraphError(
            f"{place!r} has several graphs of LangGraph's without names: {names}. Name one: {place}:VARIABLE; or give "
            "them names, compile(name=...)."
        )
    graphs = {name: adopted_graph(module, value, value) for name, value in compiled.items()}
    return {name: graph for name, graph in graphs.items() if graph is not None}


def _langgraph_is_loaded() -> bool:
    return "langgraph.graph" in sys.modules
