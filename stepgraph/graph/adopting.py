"""`adopt`: a graph that was built with LangGraph becomes a graph of stepgraph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stepgraph.engine.spec import Durability
from stepgraph.errors import GraphDefinitionError
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.graph.file_name import name_of_calling_file, name_of_file, remember
from stepgraph.graph.validation import graph_name


def adopt(
    graph: Any,
    name: str | None = None,
    *,
    types: Sequence[type] = (),
    authors: Sequence[str] = ("human",),
    durability: Durability = "sync",
) -> CompiledGraph:
    """Make a graph that was built with LangGraph run here, unchanged. Each of its nodes becomes an activity.

    Needs the extra ``stepgraph[langgraph]``. LangGraph's rules hold inside the graph: keys of an input that the state
    does not have are ignored, for example.

    Args:
        graph: a ``StateGraph`` of LangGraph's, what its ``compile()`` returns (prebuilt agents do), or a function that
            returns either. Every worker calls that function, and must get the same graph.
        name: the graph's name in Temporal. By default the name that the graph was compiled with; if it has none, that
            of the file that calls, as for `stepgraph.StateGraph.compile`.
        types: dataclasses, pydantic models and enums that occur in values without being mentioned in the annotations of
            the graph.
        authors: virtual authors; see `stepgraph.StateGraph.compile`.
        durability: ``"sync"`` or ``"async"``; see `stepgraph.StateGraph.compile`.

    Raises:
        GraphDefinitionError: the graph has something that cannot be taken over; the message names it, and the mend.

    Examples:
        >>> agent = stepgraph.adopt(create_agent(model, tools), "support")  # doctest: +SKIP
        >>> agent.invoke({"messages": "Hello!"}, {"configurable": {"thread_id": "t1"}})  # doctest: +SKIP
    """
    module = _taken_over()
    compiled = module.compiled_graph(graph)
    own_name = name or module.graph_name_of(compiled)
    file = ""
    if own_name is None:
        own_name, file = name_of_calling_file()
    adopted = _adopted(compiled, own_name, types=types, authors=authors, durability=durability)
    if file:
        remember(adopted, file)
    return adopted


def adopt_from_file(graph: Any, file: str) -> CompiledGraph:
    """Do what `adopt` does for a graph that a file holds, which gives its name to a graph that has none."""
    compiled = _taken_over().compiled_graph(graph)
    return _adopted(compiled, _taken_over().graph_name_of(compiled) or name_of_file(file))


def _adopted(
    compiled: Any,
    name: str,
    *,
    types: Sequence[type] = (),
    authors: Sequence[str] = ("human",),
    durability: Durability = "sync",
) -> CompiledGraph:
    module = _taken_over()
    registry = module.registry_of(compiled, graph_name(name), types=types, authors=authors, durability=durability)
    return CompiledGraph(registry, config=module.call_config_of(compiled))


def is_langgraph(value: Any, *, compiled: bool = False) -> bool:
    """Return whether a value is a graph of LangGraph's; with ``compiled``, whether it is a compiled one."""
    return bool(_taken_over().is_langgraph(value, compiled=compiled))


def graph_name_of(graph: Any) -> str | None:
    """Return the name that a graph of LangGraph's was compiled with; `None` if it has none of its own."""
    name: str | None = _taken_over().graph_name_of(graph)
    return name


def _taken_over() -> Any:
    """Return the module that takes graphs over. It imports LangGraph, so it is imported when it is first used."""
    try:
        from stepgraph.langgraph import taken_over
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("langgraph", "langchain_core"):
            raise
        raise GraphDefinitionError(
            f"adopt() needs LangGraph, and {error.name!r} is not installed: pip install 'stepgraph[langgraph]'."
        ) from error
    return taken_over
