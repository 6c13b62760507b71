"""A graph's callables, found by name: the counterpart of its spec.

A worker has the code, a run has the spec. Both name the same nodes; where they differ, the code says so clearly.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from stepgraph.engine.spec import GraphSpec
from stepgraph.errors import MissingNodeError
from stepgraph.execution.retry import RetryPolicy, pause_before
from stepgraph.execution.state_schema import StateSchema


@dataclass(frozen=True)
class RegisteredNode:
    """A node's function, and which of its exceptions are tried again."""

    function: Callable[..., Any]
    retry_policy: RetryPolicy | None = None
    takes_config: bool = False

    @property
    def is_async(self) -> bool:
        """Whether the function runs on the event loop rather than on a thread."""
        return is_async(self.function)

    def pause_after(self, error: BaseException, attempt: int) -> float | None:
        """Seconds to wait before another attempt, after this one failed; `None` when the failure is final."""
        policy = self.retry_policy
        if policy is None or attempt >= policy.max_attempts:
            return None
        if not isinstance(error, Exception) or not policy.names(error):
            return None
        return pause_before(attempt + 1, policy.spec(), random.random())


@dataclass(frozen=True)
class RegisteredRouter:
    """A conditional edge's function, with the destinations that a mapping gives to what it returns."""

    function: Callable[..., Any]
    mapping: Mapping[Any, str] | None = None
    takes_config: bool = False


@dataclass(frozen=True)
class GraphRegistry:
    """Everything a worker needs of a graph: its spec as this code has it, its state, its functions."""

    spec: GraphSpec
    schema: StateSchema
    nodes: Mapping[str, RegisteredNode]
    routers: Mapping[tuple[str, str], RegisteredRouter] = field(default_factory=dict)
    """By source node and branch name."""

    @property
    def name(self) -> str:
        """The graph's name: its Temporal workflow type."""
        return self.spec.name

    def node(self, name: str, run_spec: str) -> RegisteredNode:
        """A node's code; `MissingNodeError` names the graph, the node and both specs' fingerprints."""
        if name not in self.nodes:
            raise missing_from_registry(self.spec, f"node {name!r}", name, run_spec)
        return self.nodes[name]

    def router(self, source: str, name: str, run_spec: str) -> RegisteredRouter:
        """A router's code, likewise."""
        if (source, name) not in self.routers:
            raise missing_from_registry(self.spec, f"router {name!r} of node {source!r}", source, run_spec)
        return self.routers[source, name]


class HasRegistry(Protocol):
    """Whatever carries a registry: `stepgraph.CompiledGraph`, for one."""

    @property
    def registry(self) -> GraphRegistry:
        """What a worker needs of the graph."""


def missing_from_registry(spec: GraphSpec, what: str, node: str, run_spec: str) -> MissingNodeError:
    """The error for a run that needs what this worker's code lacks."""
    return MissingNodeError(
        f"This worker's code of graph {spec.name!r} has no {what}: the run was started from spec {run_spec}, "
        f"the worker has {spec.hash}. Deploy a worker whose code has it, then resume the thread.",
        graph=spec.name,
        node=node,
        run_spec=run_spec,
        worker_spec=spec.hash,
    )


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling it gives a coroutine; looks through partials and at ``__call__``."""
    while hasattr(function, "func") and hasattr(function, "keywords"):  # functools.partial
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def takes_config(function: Callable[..., Any]) -> bool:
    """Whether a node or router wants LangGraph's ``config`` beside the state."""
    try:
        return "config" in inspect.signature(function).parameters
    except (ValueError, TypeError):
        return False
