"""A graph's functions by name: the counterpart of its spec.

A worker has the code, a run has the spec. If the spec names a node or a router that the code lacks, a lookup raises
`MissingNodeError`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from stepgraph.engine.spec import GraphSpec
from stepgraph.errors import MissingNodeError
from stepgraph.execution.node_parameters import STATE_ALONE, NodeParameters
from stepgraph.execution.node_timeout import TimeoutPolicy
from stepgraph.execution.retry import RetryPolicy
from stepgraph.execution.state_schema import StateSchema
from stepgraph.execution.task_code import TaskCode

MISSING_NODE_MEND = (
    "Deploy a worker whose code has it, then resume the thread; or have the code at hand plan what follows another "
    "node: update_state(config, None, as_node='<the node before>'), then resume."
)
"""What to do about a node that a run needs and the worker's code lacks."""

MISSING_ROUTER_MEND = "Resume the thread: its next run asks the routers of the worker's code."
"""What to do about such a router."""


@dataclass(frozen=True)
class RegisteredNode:
    """A node's function, and the policies by which it is retried."""

    function: Callable[..., Any]
    retry_policies: tuple[RetryPolicy, ...] = ()
    """The first one that an exception matches decides."""
    parameters: NodeParameters = STATE_ALONE
    """What the function takes."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What the node's author says of it; the node finds it in its config's metadata."""
    timeout_policy: TimeoutPolicy | None = None
    """How long an attempt may take, or be silent, until it has failed."""
    input_schema: Any = None
    """The class of the state that the function takes; `None` for the graph's."""


@dataclass(frozen=True)
class RegisteredRouter:
    """The function of a conditional edge."""

    function: Callable[..., Any]
    mapping: Mapping[Any, str] | None = None
    """From what the function returns to the name of a node; without it, the function returns names of nodes."""
    parameters: NodeParameters = STATE_ALONE
    """What the function takes."""
    input_schema: Any = None
    """The class of the state that the function takes; `None` for that of its node."""


@dataclass(frozen=True)
class GraphRegistry:
    """Everything a worker needs of a graph: its spec according to this code, its state schema and its functions."""

    spec: GraphSpec
    schema: StateSchema
    nodes: Mapping[str, RegisteredNode]
    routers: Mapping[tuple[str, str], RegisteredRouter] = field(default_factory=dict)
    """By source node and name of the conditional edge."""
    store: Any = None
    """The store that the graph was compiled with: any `BaseStore` of ``langgraph-checkpoint``."""
    task_code: TaskCode | None = None
    """What runs the tasks in place of ``nodes`` and ``routers``, if another library does."""
    cache: Any = None
    """The cache that it was compiled with: any `BaseCache` of ``langgraph-checkpoint``."""

    @property
    def name(self) -> str:
        """The graph's name: its Temporal workflow type."""
        return self.spec.name

    def has_code_of(self, other: GraphRegistry) -> bool:
        """Return whether both were compiled from the same functions, state class and store, in the same way."""
        ours, theirs = self.schema, other.schema
        same_classes = ours.declared is theirs.declared and ours.context.declared is theirs.context.declared
        same_objects = same_classes and self.store is other.store
        return same_objects and (self.spec, self.nodes, self.routers) == (other.spec, other.nodes, other.routers)

    def node(self, name: str, run_spec: str) -> RegisteredNode:
        """Return a node's code; raise `MissingNodeError` if there is none. ``run_spec``: the hash of the run's spec."""
        if name not in self.nodes:
            raise missing_from_registry(self.spec, f"node {name!r}", name, run_spec, mend=MISSING_NODE_MEND)
        return self.nodes[name]

    def router(self, source: str, name: str, run_spec: str) -> RegisteredRouter:
        """Return a router's code; raise `MissingNodeError` if there is none. ``source``: the node it belongs to."""
        if (source, name) not in self.routers:
            missing = f"router {name!r} of node {source!r}"
            raise missing_from_registry(self.spec, missing, source, run_spec, mend=MISSING_ROUTER_MEND)
        return self.routers[source, name]


class HasRegistry(Protocol):
    """An object that has a registry, for example `stepgraph.CompiledGraph`."""

    @property
    def registry(self) -> GraphRegistry:
        """What a worker needs of the graph."""


def missing_from_registry(spec: GraphSpec, missing: str, node: str, run_spec: str, *, mend: str) -> MissingNodeError:
    """Return the error for a run that needs code which this worker does not have.

    Args:
        spec: the graph's spec according to this worker's code.
        missing: the part of the code that is missing, for the message: ``node 'search'``.
        node: the name of the node that is missing, or whose router is.
        run_spec: the hash of the spec that the run was started with.
        mend: what to do, for the message.
    """
    return MissingNodeError(
        f"This worker's code of graph {spec.name!r} has no {missing}: the run was started from spec {run_spec}, "
        f"the worker has {spec.hash}. {mend}",
        graph=spec.name,
        node=node,
        run_spec=run_spec,
        worker_spec=spec.hash,
    )
