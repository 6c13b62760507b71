"""`adopt`: a graph that was built with LangGraph becomes a graph of stepgraph."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stepgraph.engine.spec import Durability
from stepgraph.errors import GraphDefinitionError
from stepgraph.graph.compiled import CompiledGraph
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
        name: the graph's name in Temporal. By default the name that the graph was compiled with; if it has none, the
            stem of the file that calls.
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
    return adopt_by_default_name(graph, name, _calling_module(), types=types, authors=authors, durability=durability)


def adopt_by_default_name(
    graph: Any,
    name: str | None,
    default: str,
    *,
    types: Sequence[type] = (),
    authors: Sequence[str] = ("human",),
    durability: Durability = "sync",
) -> CompiledGraph:
    """Do what `adopt` does, with ``default`` as the name of a graph that has none."""
    taken_over = _taken_over()
    compiled = taken_over.compiled_graph(graph)
    own_name = graph_name(name or taken_over.graph_name_of(compiled) or default)
    registry = taken_over.registry_of(compiled, own_name, types=types, authors=authors, durability=durability)
    return CompiledGraph(registry)


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


def _calling_module() -> str:
    """Return the stem of the file that calls `adopt`."""
    frame = inspect.currentframe()
    caller = frame.f_back.f_back if frame is not None and frame.f_back is not None else None
    return Path(caller.f_code.co_filename).stem if caller is not None else ""
