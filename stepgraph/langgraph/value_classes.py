"""The classes whose instances may occur in the values of an adopted graph: those that the graph mentions.

Values of other classes are refused when they are written, because another process could not tell what they were.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from langgraph.graph.state import CompiledStateGraph

from stepgraph.serde.declared_classes import classes_in

Compiled: TypeAlias = CompiledStateGraph[Any, Any, Any, Any]


def value_classes(graph: Compiled, types: Iterable[type] = ()) -> tuple[type, ...]:
    """Return the dataclasses, models, enums and named tuples of a graph, and those that its author names.

    They are found in the schemas of the state, the nodes and the context, and in what the nodes hold: an agent's
    ``response_format`` is a variable of one of its nodes.
    """
    mentioned: list[Any] = [*types]
    for each in [graph, *nested_graphs(graph)]:
        builder = each.builder
        mentioned += [*builder.schemas, builder.context_schema]
        mentioned += [value for node in builder.nodes.values() for value in _held_by(node.runnable)]
    return classes_in(*mentioned)


def nested_graphs(graph: Compiled) -> list[Compiled]:
    """Return the graphs that are nodes of a graph, or that its nodes call, as far as LangGraph finds them."""
    found = []
    for node in graph.nodes.values():
        for nested in node.subgraphs:
            if isinstance(nested, CompiledStateGraph):
                found += [nested, *nested_graphs(nested)]
    return found


def _held_by(runnable: Any) -> Iterator[Any]:
    """Yield the classes in the variables of a node's functions, and the ``schema`` of an object there."""
    attributes = vars(runnable) if hasattr(runnable, "__dict__") else {}  # a wrapper's attributes may raise anything
    for function in (attributes.get("func"), attributes.get("afunc")):
        for cell in getattr(function, "__closure__", None) or ():
            try:
                held = cell.cell_contents
            except ValueError:  # the variable was never set
                continue
            for value in held.values() if isinstance(held, dict) else [held]:
                found = value if isinstance(value, type) else getattr(value, "schema", None)
                if isinstance(found, type):
                    yield found
