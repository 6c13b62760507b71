"""`StateGraph`: builds a graph from nodes and edges, with LangGraph's methods.

Owns collecting nodes and edges, and making the spec. `stepgraph.graph.validation` checks whether the graph can work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any, Self

from stepgraph.engine.constants import END, START
from stepgraph.engine.joins import JoinSpec
from stepgraph.engine.spec import BranchSpec, Durability, GraphSpec, NodeSpec
from stepgraph.errors import GraphDefinitionError
from stepgraph.execution.node_parameters import NodeParameters, name_of
from stepgraph.execution.node_timeout import TimeoutPolicy
from stepgraph.execution.registry import GraphRegistry, RegisteredNode, RegisteredRouter
from stepgraph.execution.retry import RetryPolicy
from stepgraph.execution.state_class import class_of_parameter
from stepgraph.execution.state_schema import StateSchema
from stepgraph.graph import validation
from stepgraph.graph.compile_options import breakpoints, check_checkpointer, check_transformers
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.graph.destinations import Destinations, PathMap, command_ends, router_ends
from stepgraph.graph.file_name import name_of_calling_file, remember
from stepgraph.graph.former_keywords import former_keywords
from stepgraph.graph.node_defaults import NodeDefaults
from stepgraph.graph.node_options import (
    Seconds,
    check_store,
    check_task_queue,
    durability_of,
    name_and_function,
    name_in_sequence,
    node_metadata,
    node_parameters,
    node_timeout,
    refuse,
    retry_policies,
    retry_spec,
    seconds_of,
)
from stepgraph.protocol.task_request import HEARTBEAT_TIMEOUT

NodeFunction = Callable[..., Any]
Router = Callable[..., Any]

DEFAULT_HEARTBEAT_TIMEOUT = timedelta(seconds=HEARTBEAT_TIMEOUT)


class StateGraph:
    """A graph under construction: nodes that read and write a shared state.

    Args:
        state_schema: a `TypedDict`, dataclass or pydantic model. ``Annotated[type, reducer]`` gives a key a reducer.
            The type of a single value instead, ``Annotated[list, operator.add]``, makes a state that is this one value.
        context_schema: the class of what ``invoke(context=...)`` hands to nodes as ``runtime.context``: a dataclass, a
            pydantic model or a `TypedDict` of plain data.
        input_schema: the class of an input, which sets its keys only; the state's by default.
        output_schema: the class of what `invoke` returns; the state's by default.

    Examples:
        >>> class State(typing.TypedDict):
        ...     topic: str
        ...     text: str
        >>> builder = StateGraph(State)
        >>> _ = builder.add_node("write", lambda state: {"text": f"On {state['topic']}"})
        >>> _ = builder.add_edge(START, "write").add_edge("write", END)
        >>> graph = builder.compile(name="essay")
    """

    @former_keywords(input="input_schema", output="output_schema", config_schema="context_schema")
    def __init__(
        self, state_schema: Any, context_schema: Any = None, *, input_schema: Any = None, output_schema: Any = None
    ) -> None:
        self.schema = StateSchema(
            state_schema, input_schema=input_schema, output_schema=output_schema, context_schema=context_schema
        )
        self._nodes: dict[str, NodeSpec] = {}
        self._functions: dict[str, RegisteredNode] = {}
        self._edges: dict[tuple[str, str], None] = {}  # in order
        self._joins: list[JoinSpec] = []
        self._branches: list[BranchSpec] = []
        self._routers: dict[tuple[str, str], RegisteredRouter] = {}
        self._defaults = NodeDefaults()

    @former_keywords(input="input_schema", retry="retry_policy")
    def add_node(
        self,
        node: str | NodeFunction,
        action: NodeFunction | None = None,
        *,
        input_schema: Any = None,
        retry_policy: RetryPolicy | Sequence[RetryPolicy] | None = None,
        metadata: Mapping[str, Any] | None = None,
        timeout: Seconds | TimeoutPolicy | None = None,
        heartbeat_timeout: Seconds = DEFAULT_HEARTBEAT_TIMEOUT,
        task_queue: str | None = None,
        durability: Durability | None = None,
        destinations: Destinations | None = None,
        defer: bool = False,
        error_handler: Any = None,
        cache_policy: Any = None,
        trace_policy: Any = None,
    ) -> Self:
        """Add a node: a function or a LangChain Runnable, alone or after its name. A function may be sync or async.

        The function takes the state, and any of ``config``, ``runtime``, ``store``, ``writer``: by the name of the
        parameter, or by its annotation (`RunnableConfig`, `Runtime`, ``BaseStore``, `StreamWriter`). It may also take
        none of them. It returns a mapping of the channels that it writes, a `Command`, a list of these, or `None`.

        Args:
            node: the node's name, or its function, which then also names it.
            action: the node's function, if ``node`` is a name.
            input_schema: the class of the state that the function takes. By default that of the parameter that gets the
                state, if it is annotated with a class, or else the graph's. Keys that only this class has are private:
                they become channels, and other nodes see them if their class has them, too.
            retry_policy: the exceptions after which the node is retried; without a policy it fails at the first. Of
                several policies the first one that the exception matches decides.
            metadata: what the node finds under ``metadata`` in its config, beside the caller's.
            timeout: seconds, or a `timedelta`, that one attempt may take before another begins; a day by default. With
                a retry policy, such an attempt counts as a failed one. With a `TimeoutPolicy`, an attempt that exceeds
                it raises `NodeTimeoutError`, as in LangGraph: the node has failed, unless its retry policy retries it.
            heartbeat_timeout: seconds, or a `timedelta`, without a heartbeat after which the worker counts as crashed
                and Temporal starts another attempt. stepgraph sends heartbeats in the background while a node runs.
            task_queue: the task queue of this node, if it does not run with the rest of its graph.
            durability: ``"sync"`` or ``"async"`` for this node, in place of the graph's; see `compile`.
            destinations: the nodes to which the node's commands lead, for checks and drawings: a list, or a mapping
                from nodes to labels. By default these are taken from the return annotation,
                ``Command[Literal["a", "b"]]``.
            defer: whether the node, when it is due, waits until nothing else is due.
            error_handler, cache_policy, trace_policy: options of LangGraph's that are refused.

        Raises:
            GraphDefinitionError: the name or an option is unusable.
        """
        name, function = name_and_function(node, action)
        refuse(name, error_handler=error_handler, cache_policy=cache_policy, trace_policy=trace_policy)
        validation.check_node(name, self._nodes, self.schema)
        parameters = node_parameters(f"Node {name!r}", name, function)
        policies, about = retry_policies(name, retry_policy), node_metadata(name, metadata)
        check_task_queue(name, task_queue)
        seconds, timeout_policy = node_timeout(name, timeout)
        ends, labels = command_ends(name, function, destinations)
        view = self._view_of(function, parameters, input_schema)
        self._nodes[name] = NodeSpec(
            name=name,
            timeout=seconds,
            heartbeat_timeout=seconds_of(name, "heartbeat_timeout", heartbeat_timeout),
            task_queue=task_queue,
            retry=retry_spec(name, policies),
            durability=durability_of(f"Node {name!r}", durability, task_queue),
            ends=ends,
            end_labels=labels,
            defer=bool(defer),
        )
        self._functions[name] = RegisteredNode(
            function, policies, parameters, about, input_schema=view, timeout_policy=timeout_policy
        )
        self._defaults.note(name, retry_policy, timeout)
        return self

    def set_node_defaults(
        self,
        *,
        retry_policy: RetryPolicy | Sequence[RetryPolicy] | None = None,
        timeout: Seconds | TimeoutPolicy | None = None,
        error_handler: Any = None,
        cache_policy: Any = None,
    ) -> Self:
        """Set options for all nodes that have none of their own, also for those that are there already.

        Args:
            retry_policy: as in `add_node`.
            timeout: as in `add_node`.
            error_handler, cache_policy: options of LangGraph's that are refused.

        Raises:
            GraphDefinitionError: an option is unusable.
        """
        refuse("set_node_defaults", error_handler=error_handler, cache_policy=cache_policy)
        self._defaults.set(retry_policy, timeout)
        return self

    def add_sequence(self, nodes: Sequence[NodeFunction | tuple[str, NodeFunction]]) -> Self:
        """Add nodes that run one after another: functions or Runnables, each alone or as ``(name, function)``.

        As in LangGraph, a Runnable without a name before it is named after its class here.

        Raises:
            GraphDefinitionError: there is none, or two have the same name.
        """
        if not isinstance(nodes, Sequence) or not nodes:
            raise GraphDefinitionError(f"add_sequence takes a list of at least one node; got {nodes!r}.")
        named = [
            name_and_function(*node) if isinstance(node, tuple) and len(node) == 2 else (name_in_sequence(node), node)
            for node in nodes
        ]
        for number, (name, function) in enumerate(named):  # before any is added
            validation.check_node(name, [*self._nodes, *(earlier for earlier, _ in named[:number])], self.schema)
            node_parameters(f"Node {name!r}", name, function)
        for name, function in named:
            self.add_node(name, function)
        for (source, _), (target, _) in pairwise(named):
            self.add_edge(source, target)
        return self

    def add_edge(self, start_key: str | Sequence[str], end_key: str) -> Self:
        """Make the node ``end_key`` run after ``start_key``.

        A list as ``start_key`` makes a join: ``end_key`` runs once all nodes of the list have run, even if they run in
        different super-steps.
        """
        target = validation.node_name("add_edge", end_key)
        if isinstance(start_key, list | tuple):
            sources = tuple(dict.fromkeys(validation.node_name("add_edge", source) for source in start_key))
            if not sources:
                raise GraphDefinitionError(
                    f"The join before {target!r} has no sources. Name the nodes that it waits for.", node=target
                )
            join = JoinSpec(sources=sources, target=target)
            if join not in self._joins:
                self._joins.append(join)
        else:
            edge = (validation.node_name("add_edge", start_key), target)
            self._edges[edge] = None
        return self

    def add_conditional_edges(self, source: str, path: Router, path_map: PathMap | None = None) -> Self:
        """Make the router ``path`` choose which nodes run after ``source``.

        Args:
            source: the node after which the router is called, or `START`.
            path: a function, sync or async, that takes the state and returns a node, a `Send`, `END`, or a list.
            path_map: a mapping from the router's results to nodes, or a list of the nodes to which it may lead. By
                default these are taken from the router's return annotation (``-> Literal["a", "b"]``); without an
                annotation, it may lead to any node.
        """
        source = validation.node_name("add_conditional_edges", source)
        parameters = node_parameters(f"The router of {source!r}", source, path)
        name = name_of(path)
        name = "router" if name == "<lambda>" else name
        number, base_name = 1, name
        while (source, name) in self._routers:
            number += 1
            name = f"{base_name}_{number}"
        mapping, ends, labels = router_ends(source, path, path_map)
        self._branches.append(BranchSpec(source=source, name=name, ends=ends, labels=labels))
        view = self._view_of(path, parameters)
        self._routers[source, name] = RegisteredRouter(path, mapping, parameters, view)
        return self

    def set_entry_point(self, key: str) -> Self:
        """Make the node ``key`` run first: ``add_edge(START, key)``."""
        return self.add_edge(START, key)

    def set_conditional_entry_point(self, path: Router, path_map: PathMap | None = None) -> Self:
        """Make the router ``path`` choose which nodes run first: ``add_conditional_edges(START, path, path_map)``."""
        return self.add_conditional_edges(START, path, path_map)

    def set_finish_point(self, key: str) -> Self:
        """Make the node ``key`` the last one: ``add_edge(key, END)``."""
        return self.add_edge(key, END)

    def compile(
        self,
        checkpointer: bool | None = None,
        *,
        cache: Any = None,
        store: Any = None,
        interrupt_before: str | Sequence[str] | None = None,
        interrupt_after: str | Sequence[str] | None = None,
        debug: bool = False,
        name: str | None = None,
        transformers: None = None,
        authors: Sequence[str] | None = None,
        durability: Durability = "sync",
    ) -> CompiledGraph:
        """Check the graph and make it ready to run.

        Args:
            checkpointer: `True`, `False` or `None`: what they say is for subgraphs. The graph that is invoked keeps its
                checkpoints in Temporal in any case, so a saver is refused.
            store: what nodes find as ``store``: a `BaseStore` of ``langgraph-checkpoint``. By default they find the
                store of the worker's process, which STEPGRAPH_STORE names.
            interrupt_before: breakpoints: nodes before which a thread pauses until it is resumed; ``"*"`` for all.
            interrupt_after: nodes after which a thread pauses; ``"*"`` for all.
            cache, debug, transformers: options of LangGraph's; the first two have no effect, the last is refused.
            name: the graph's name in Temporal: the workflow type of its runs and the prefix of its activity types. By
                default it is that of the file or notebook that calls ``compile``, or of a package's folder.
            authors: virtual authors: names that may sign an update without being nodes. Such an update changes values,
                not the nodes that run next. By default "human", unless that is a node.
            durability: ``"sync"`` records each super-step in Temporal's history before the next one starts. ``"async"``
                runs super-steps one after another in one activity, and records them together, twice a second and
                whenever the thread is idle. That is many times as fast; after a crash, super-steps that were not
                recorded run again. ``"exit"`` records them when the thread stands still: at its end, an interrupt or an
                error; or before, once an hour or every 250 KB.

        Raises:
            GraphDefinitionError: the graph cannot work; the message names the node or edge, and the fix.
        """
        checkpointer = check_checkpointer(checkpointer)
        check_transformers(transformers)
        check_store(store)
        name, file = (name, None) if name is not None else name_of_calling_file()
        nodes, functions = self._defaults.apply(self._nodes, self._functions)
        spec = GraphSpec(
            name=validation.graph_name(name),
            channels=tuple(channel.spec for channel in self.schema.channels),
            nodes=tuple(nodes[node] for node in sorted(nodes)),
            edges=tuple(self._edges),
            joins=tuple(dict.fromkeys(self._joins)),
            branches=tuple(self._branches),
            authors=tuple(name for name in ("human",) if name not in self._nodes)
            if authors is None
            else tuple(authors),
            interrupt_before=breakpoints("interrupt_before", interrupt_before),
            interrupt_after=breakpoints("interrupt_after", interrupt_after),
            durability=durability_of(f"Graph {name!r}", durability, is_graph=True) or "sync",
            input_channels=self.schema.names_unless_all(self.schema.input_names),
            output_channels=self.schema.names_unless_all(self.schema.output_names),
        )
        validation.check_spec(spec)
        registry = GraphRegistry(spec, self.schema, functions, dict(self._routers), store, cache=cache)
        graph = CompiledGraph(registry, checkpointer=checkpointer, debug=debug)
        if file is not None:
            remember(graph, file)
        return graph

    def _view_of(self, function: NodeFunction, parameters: NodeParameters, declared: Any = None) -> Any:
        """Return the class of the state that a node or router takes, `None` for the graph's, as channels, too."""
        if declared is None:
            declared = class_of_parameter(function, parameters.state)
        if declared is not None:
            self.schema.add(declared)
        return declared
