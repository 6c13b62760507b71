"""`StateGraph`: how an author draws a graph, in LangGraph's shape.

Owns collecting nodes and edges. What makes a graph workable is checked in `stepgraph.graph.validation`, at `compile`.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal, Self, get_args, get_origin, get_type_hints

from stepgraph.engine.constants import END, START
from stepgraph.engine.spec import BranchSpec, ChannelSpec, Durability, GraphSpec, JoinSpec, NodeSpec
from stepgraph.errors import GraphDefinitionError
from stepgraph.execution.registry import GraphRegistry, RegisteredNode, RegisteredRouter, takes_config
from stepgraph.execution.retry import MAX_SECONDS, MIN_SECONDS, RetryPolicy
from stepgraph.execution.state_schema import StateSchema
from stepgraph.graph import validation
from stepgraph.graph.compiled import CompiledGraph

Seconds = float | timedelta
NodeFunction = Callable[..., Any]
Router = Callable[..., Any]
PathMap = Mapping[Hashable, str] | Sequence[str]

DEFAULT_TIMEOUT = timedelta(days=1)
DEFAULT_HEARTBEAT_TIMEOUT = timedelta(seconds=30)


class StateGraph:
    """A graph under construction: nodes that read and write a shared state.

    Args:
        state_schema: a `TypedDict`, dataclass or pydantic model. ``Annotated[type, reducer]`` gives a key a reducer.

    Example:
        >>> class State(typing.TypedDict):
        ...     topic: str
        ...     text: str
        >>> builder = StateGraph(State)
        >>> _ = builder.add_node("write", lambda state: {"text": f"On {state['topic']}"})
        >>> _ = builder.add_edge(START, "write").add_edge("write", END)
        >>> graph = builder.compile(name="essay")
    """

    def __init__(self, state_schema: type) -> None:
        self.schema = StateSchema(state_schema)
        self._nodes: dict[str, NodeSpec] = {}
        self._functions: dict[str, RegisteredNode] = {}
        self._edges: list[tuple[str, str]] = []
        self._joins: list[JoinSpec] = []
        self._branches: list[BranchSpec] = []
        self._routers: dict[tuple[str, str], RegisteredRouter] = {}

    def add_node(
        self,
        node: str | NodeFunction,
        action: NodeFunction | None = None,
        *,
        retry_policy: RetryPolicy | None = None,
        timeout: Seconds = DEFAULT_TIMEOUT,
        heartbeat_timeout: Seconds = DEFAULT_HEARTBEAT_TIMEOUT,
        task_queue: str | None = None,
        durability: Durability | None = None,
    ) -> Self:
        """Adds a node: a function, or a name and a function; sync or async.

        The function takes the state, and LangGraph's ``config`` if it has a parameter of that name. It returns a
        mapping of the channels it writes, a list of these, or `None`.

        Args:
            node: the node's name, or the function whose name it gets.
            action: the function, when a name is given.
            retry_policy: which exceptions are tried again; without one the node fails at its first.
            timeout: seconds, or a `timedelta`, that one attempt may take before Temporal starts another.
            heartbeat_timeout: seconds, or a `timedelta`, without a sign of life after which the worker counts as
                crashed and Temporal starts the node elsewhere. The signs are sent for the node, in the background.
            task_queue: where this node runs, if not with the rest of its graph.
            durability: ``"sync"`` or ``"async"`` for this node, in place of the graph's; see `compile`.
        """
        name, function = self._named(node, action)
        validation.check_node(name, function, self._nodes, self.schema)
        if retry_policy is not None and not isinstance(retry_policy, RetryPolicy):
            raise GraphDefinitionError(
                f"Node {name!r}: retry_policy must be a stepgraph.RetryPolicy, got {retry_policy!r}.",
                node=name,
            )
        try:
            retry = retry_policy.spec() if retry_policy else None
        except ValueError as error:
            raise GraphDefinitionError(f"Node {name!r}: {error}.", node=name) from error
        if task_queue is not None and (not isinstance(task_queue, str) or not task_queue.strip()):
            raise GraphDefinitionError(
                f"Node {name!r}: task_queue must be the name of a task queue, got {task_queue!r}. "
                "Leave it out to run the node with the rest of its graph.",
                node=name,
            )
        self._nodes[name] = NodeSpec(
            name=name,
            timeout=_seconds(name, "timeout", timeout),
            heartbeat_timeout=_seconds(name, "heartbeat_timeout", heartbeat_timeout),
            task_queue=task_queue,
            retry=retry,
            durability=_durability(f"Node {name!r}", durability, task_queue),
        )
        self._functions[name] = RegisteredNode(function, retry_policy, takes_config(function))
        return self

    def add_edge(self, start_key: str | Sequence[str], end_key: str) -> Self:
        """Has ``end_key`` run after ``start_key``; after all of a list, over as many super-steps as it takes."""
        target = validation.name_in("add_edge", end_key)
        if isinstance(start_key, list | tuple):
            sources = tuple(dict.fromkeys(validation.name_in("add_edge", source) for source in start_key))
            if not sources:
                raise GraphDefinitionError(
                    f"The join before {target!r} has no sources. Name the nodes that it waits for.", node=target
                )
            join = JoinSpec(sources=sources, target=target)
            if join not in self._joins:
                self._joins.append(join)
        else:
            edge = (validation.name_in("add_edge", start_key), target)
            if edge not in self._edges:
                self._edges.append(edge)
        return self

    def add_conditional_edges(self, source: str, path: Router, path_map: PathMap | None = None) -> Self:
        """Has ``path``, called with the state after ``source``, choose what runs next.

        Args:
            source: the node asked about, or `START`.
            path: a function, sync or async, of the state; returns a node's name, several, or `END`.
            path_map: names for what it returns, or a list of its possible destinations. Without one they are taken from
                its return annotation (``-> Literal["a", "b"]``); without that, it may lead anywhere.
        """
        source = validation.name_in("add_conditional_edges", source)
        if not callable(path):
            raise GraphDefinitionError(f"The router of {source!r} must be a function, got {path!r}.", node=source)
        validation.check_call(f"The router of {source!r}", source, path)
        name = getattr(path, "__name__", type(path).__name__)
        name = "router" if name == "<lambda>" else name
        number, plain = 1, name
        while (source, name) in self._routers:
            number += 1
            name = f"{plain}_{number}"
        mapping, ends, labels = _destinations(source, path, path_map)
        self._branches.append(BranchSpec(source=source, name=name, ends=ends, labels=labels))
        self._routers[source, name] = RegisteredRouter(path, mapping, takes_config(path))
        return self

    def set_entry_point(self, key: str) -> Self:
        """``add_edge(START, key)``."""
        return self.add_edge(START, key)

    def set_finish_point(self, key: str) -> Self:
        """``add_edge(key, END)``."""
        return self.add_edge(key, END)

    def compile(
        self,
        *,
        name: str,
        authors: Sequence[str] = ("human",),
        interrupt_before: str | Sequence[str] = (),
        interrupt_after: str | Sequence[str] = (),
        durability: Durability = "sync",
    ) -> CompiledGraph:
        """Checks the graph and makes it ready to run.

        Args:
            name: what the graph is called in Temporal: the workflow type of its runs, the prefix of its activity types.
            authors: who may sign an update without being a node: values change, what runs next does not.
            interrupt_before: breakpoints: nodes before which a thread stops until it is told to go on; ``"*"`` for all.
            interrupt_after: nodes after which it stops.
            durability: ``"sync"``: a super-step is on disk before the next one starts. ``"async"``: super-steps run one
                after another in one process, and get to disk together, twice a second and whenever the thread stands
                still; many times as fast, and a crash has what was not on disk yet run again.

        Raises:
            GraphDefinitionError: the graph cannot work; names the node or edge, and the mend.
        """
        spec = GraphSpec(
            name=validation.graph_name(name),
            channels=tuple(
                ChannelSpec(
                    name=channel.name,
                    type=channel.type_text,
                    reducer=_name_of(channel.reducer) if channel.reducer else None,
                )
                for channel in self.schema.channels
            ),
            nodes=tuple(self._nodes[node] for node in sorted(self._nodes)),
            edges=tuple(dict.fromkeys(self._edges)),
            joins=tuple(dict.fromkeys(self._joins)),
            branches=tuple(self._branches),
            authors=tuple(authors),
            interrupt_before=(interrupt_before,) if isinstance(interrupt_before, str) else tuple(interrupt_before),
            interrupt_after=(interrupt_after,) if isinstance(interrupt_after, str) else tuple(interrupt_after),
            durability=_durability(f"Graph {name!r}", durability) or "sync",
        )
        validation.check(spec)
        return CompiledGraph(GraphRegistry(spec, self.schema, dict(self._functions), dict(self._routers)))

    def _named(self, node: Any, action: NodeFunction | None) -> tuple[str, NodeFunction]:
        if isinstance(node, str):
            if action is None:
                raise GraphDefinitionError(f"Node {node!r} has no function: add_node({node!r}, function).", node=node)
            return node, action
        if action is not None or not callable(node):
            raise GraphDefinitionError(f"add_node takes a function, or a name and a function; got {node!r}.")
        name = getattr(node, "__name__", "")
        if not name or name == "<lambda>":
            raise GraphDefinitionError(f"{node!r} has no name of its own: add_node('name', function).")
        return name, node


def _seconds(node: str, option: str, value: Seconds) -> float:
    try:
        seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    except (TypeError, ValueError):
        seconds = 0.0
    if not MIN_SECONDS <= seconds <= MAX_SECONDS or isinstance(value, bool):
        raise GraphDefinitionError(
            f"Node {node!r}: {option} must be a positive number of seconds or a timedelta, from a millisecond to ten "
            f"years; got {value!r}.",
            node=node,
        )
    return seconds


def _durability(whose: str, value: Any, task_queue: str | None = None) -> Durability | None:
    if value not in (None, "sync", "async"):
        raise GraphDefinitionError(f"{whose}: durability must be 'sync' or 'async', got {value!r}.")
    if value == "async" and task_queue is not None:
        raise GraphDefinitionError(
            f"{whose} cannot have durability='async' and a task_queue of its own: what is 'async' runs in one process "
            "with the steps around it. Leave one of them out."
        )
    checked: Durability | None = value
    return checked


def _name_of(function: Any) -> str:
    """What a function is called: the same in every process."""
    while hasattr(function, "func") and hasattr(function, "keywords"):  # functools.partial
        function = function.func
    return str(getattr(function, "__name__", type(function).__name__))


def _destinations(
    source: str, path: Router, path_map: PathMap | None
) -> tuple[Mapping[Any, str] | None, tuple[str, ...] | None, tuple[str, ...] | None]:
    """The mapping for what a router returns, where it may lead, and what to write on the edges of a drawing."""
    if path_map is not None:
        if not isinstance(path_map, Mapping | list | tuple) or not path_map:
            raise GraphDefinitionError(
                f"The path_map of {source!r} must be a mapping to nodes, or a list of nodes; got {path_map!r}. "
                "Leave it out if the router may lead anywhere.",
                node=source,
            )
        named = path_map.values() if isinstance(path_map, Mapping) else dict.fromkeys(path_map)
        ends = tuple(validation.name_in(f"The path_map of {source!r}", name) for name in named)
        if isinstance(path_map, Mapping):
            return dict(path_map), ends, tuple(str(label) for label in path_map)
        return None, ends, None
    try:
        hint = get_type_hints(path).get("return")
    except Exception:  # no hints to be had, or such as mean nothing here
        hint = None
    if get_origin(hint) in (list, tuple, Sequence, typing.Sequence):
        hint = get_args(hint)[0]
    if get_origin(hint) is Literal:
        return None, tuple(str(name) for name in get_args(hint)), None
    return None, None, None
