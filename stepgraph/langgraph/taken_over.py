"""Takes a graph of LangGraph's over as a registry, or says by name what it cannot take over."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from langchain_core.runnables import Runnable
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph.state import CompiledStateGraph, StateGraph
from langgraph.pregel import Pregel
from langgraph.types import Command, Interrupt, Overwrite, Send, TimeoutPolicy

from stepgraph.engine.spec import Durability
from stepgraph.errors import GraphDefinitionError
from stepgraph.execution.registry import GraphRegistry, RegisteredNode
from stepgraph.langgraph import private_names as names
from stepgraph.langgraph.adopted_schema import AdoptedSchema, WritesOf
from stepgraph.langgraph.channel_folds import adopted_channel
from stepgraph.langgraph.graph_reader import retry_policies_of, spec_of, timeout_policy_of
from stepgraph.langgraph.pregel_task import PregelTaskCode
from stepgraph.langgraph.value_classes import Compiled, value_classes
from stepgraph.serde.error_text import type_name
from stepgraph.serde.tagged_values import TaggedCodec

_UNNAMED = "LangGraph"
"""The name that LangGraph gives to a graph that was compiled without one."""

_OF_LANGGRAPH: Final = (Command, Interrupt, Overwrite, Send, TimeoutPolicy)
"""The classes of LangGraph's whose instances may travel: graphs inside of nodes have them in their checkpoints."""


def is_langgraph(value: Any, *, compiled: bool = False) -> bool:
    """Return whether a value is a graph of LangGraph's; with ``compiled``, whether it is a compiled one."""
    return isinstance(value, Pregel if compiled else StateGraph | Pregel)


def compiled_graph(graph: Any) -> Compiled:
    """Return a graph as LangGraph has compiled it. A builder is compiled, a factory is called.

    Raises:
        GraphDefinitionError: it is something else, or a graph of a kind that stepgraph does not run.
    """
    made = _made_by(graph) if _is_factory(graph) else graph
    if isinstance(made, StateGraph):
        made = made.compile()
    if isinstance(made, CompiledStateGraph):
        return made
    if isinstance(made, Pregel):
        raise GraphDefinitionError(
            f"{next(iter(made.nodes), '')!r} is a function with @entrypoint. It has no nodes whose results "
            "could be recorded one by one, so stepgraph does not run it. Make its tasks the nodes of a StateGraph."
        )
    if isinstance(made, Runnable):
        raise GraphDefinitionError(
            f"adopt() takes a graph of LangGraph's; this {type_name(made)} wraps one, or is none. Pass the graph "
            "itself, and give its nodes what the wrapper adds: add_node(..., retry_policy=...), for example."
        )
    raise GraphDefinitionError(
        f"adopt() takes a StateGraph of LangGraph's, what its compile() returns, or a function that returns either; "
        f"got {type_name(made)}."
    )


def graph_name_of(graph: Compiled) -> str | None:
    """Return the name that a graph was compiled with; `None` if it has none of its own."""
    name = graph.get_name()
    return None if name == _UNNAMED else name


def call_config_of(graph: Compiled) -> dict[str, Any] | None:
    """Return the part of a graph's own config that a call begins with: its recursion limit. Nodes get the rest."""
    limit = (graph.config or {}).get("recursion_limit")
    return None if limit is None else {"recursion_limit": limit}


def registry_of(
    graph: Compiled, name: str, *, types: Iterable[type], authors: Sequence[str], durability: Durability
) -> GraphRegistry:
    """Return a compiled graph as a registry.

    Args:
        graph: LangGraph's compiled graph.
        name: the name under which it runs.
        types: classes of values that the graph's annotations do not mention.
        authors: the virtual authors.
        durability: when super-steps are recorded.

    Raises:
        GraphDefinitionError: the graph has something that stepgraph does not run.
    """
    if isinstance(graph.checkpointer, BaseCheckpointSaver):
        warnings.warn(
            f"Graph {name!r} was compiled with a {type(graph.checkpointer).__name__}. stepgraph keeps its checkpoints "
            "in Temporal and does not use the saver. Leave checkpointer= out.",
            stacklevel=4,
        )
    builder = graph.builder
    if not builder.nodes:
        raise GraphDefinitionError(f"Graph {name!r} has no nodes. Add one with add_node().", graph=name)
    classes = value_classes(graph, types)
    codec = TaggedCodec([*classes, *_OF_LANGGRAPH])
    channels = [adopted_channel(name, key, channel, classes) for key, channel in builder.channels.items()]
    spec = spec_of(graph, name, channels, authors=authors, durability=durability)
    nodes = {
        node: RegisteredNode(
            graph.nodes[node].bound.invoke,
            retry_policies_of(graph, node),
            metadata=graph.nodes[node].metadata or {},
            timeout_policy=timeout_policy_of(graph, node),
        )
        for node in builder.nodes
    }
    schema = AdoptedSchema(
        builder.state_schema,
        channels,
        input_class=builder.input_schema,
        output_class=builder.output_schema,
        input_names=spec.input_channels or (),
        output_names=spec.output_channels or (),
        writes_of=_writes_of(graph),
        codec=codec,
        context_schema=builder.context_schema,
    )
    task_code = PregelTaskCode(graph, codec)
    return GraphRegistry(spec, schema, nodes, store=graph.store, task_code=task_code)


def _is_factory(graph: Any) -> bool:
    return callable(graph) and not isinstance(graph, Runnable | StateGraph | Pregel)


def _made_by(factory: Callable[[], Any]) -> Any:
    """Return what a factory makes: a function without parameters, or of a config."""
    parameters = inspect.signature(factory).parameters.values()
    required = [each for each in parameters if each.default is each.empty and each.kind < each.VAR_POSITIONAL]
    made = factory(*[{"configurable": {}} for _ in required[:1]])
    if inspect.isawaitable(made):
        if inspect.iscoroutine(made):
            made.close()
        raise GraphDefinitionError(f"{factory!r} is async. adopt() takes a function that returns the graph itself.")
    return made


def _writes_of(graph: Compiled) -> WritesOf:
    """Return LangGraph's own reading of an update: what the first writer of any node writes to channels."""
    writer = graph.nodes[next(iter(graph.builder.nodes))].writers[0]
    channels = graph.builder.channels

    def writes_of(value: Any) -> Mapping[str, Any]:
        written: list[tuple[str, Any]] = []
        writer.invoke(value, {"configurable": {names.SEND: written.extend, names.READ: None}})
        return {channel: each for channel, each in written if channel in channels}

    return writes_of
