"""A graph's spec: the graph as plain data. Each run records the spec in its history, and works from that record.

Owns the shape of a graph (channels, nodes with their options, edges, joins, branches) and its hash. Refuses to know
functions: `stepgraph.execution.registry` finds them by name.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Literal

from pydantic import BaseModel, ConfigDict

from stepgraph.engine.constants import END, START
from stepgraph.errors import StepgraphError

Durability = Literal["sync", "async"]
"""When a super-step is recorded in the history: ``"sync"``, before the next one starts; ``"async"``, together with the
super-steps that are fused with it."""


class _SpecModel(BaseModel):
    """Immutable; fields that a later version adds are ignored when an earlier one reads a spec."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class RetrySpec(_SpecModel):
    """The part of a retry policy that is data. Which exceptions are retried is decided by the node's code."""

    initial_interval: float
    """Seconds before the first retry."""
    backoff_factor: float
    max_interval: float
    """Seconds between two attempts at the most."""
    max_attempts: int
    jitter: bool


class NodeSpec(_SpecModel):
    """A node and its options. Times are in seconds."""

    name: str
    timeout: float
    heartbeat_timeout: float
    task_queue: str | None = None
    """The task queue that runs the node, if it is not the graph's."""
    retry: RetrySpec | None = None
    durability: Durability | None = None
    """`None` stands for the graph's."""


class JoinSpec(_SpecModel):
    """``add_edge([a, b], c)``: the target is triggered once all sources have finished. Then the join begins again."""

    sources: tuple[str, ...]
    target: str

    @property
    def key(self) -> str:
        """The join's key in `Checkpoint.joins`: ``a+b>c``.

        A ``+`` or ``>`` in a node's name is preceded by ``|``, which no node's name may contain.
        """
        return f"{'+'.join(map(_escaped, self.sources))}>{_escaped(self.target)}"


def _escaped(name: str) -> str:
    return name.replace("+", "|+").replace(">", "|>")


class BranchSpec(_SpecModel):
    """A conditional edge: a router of ``source`` that chooses the nodes to run next."""

    source: str
    name: str
    """The router's name, unique at its source."""
    ends: tuple[str, ...] | None = None
    """The destinations that the router may choose; `None` stands for every node and `END`."""
    labels: tuple[str, ...] | None = None
    """What the router returns for each of ``ends``, if a mapping renames them."""


class ChannelSpec(_SpecModel):
    """One key of the state, with its type and its reducer as text."""

    name: str
    type: str
    reducer: str | None = None


class GraphSpec(_SpecModel):
    """A whole graph. All parts are in a fixed order, so that equal graphs have equal hashes."""

    name: str
    channels: tuple[ChannelSpec, ...]
    nodes: tuple[NodeSpec, ...]
    edges: tuple[tuple[str, str], ...] = ()
    joins: tuple[JoinSpec, ...] = ()
    branches: tuple[BranchSpec, ...] = ()
    authors: tuple[str, ...] = ()
    """Virtual authors: names that may sign an update without being a node."""
    interrupt_before: tuple[str, ...] = ()
    """Nodes before which a thread pauses; ``*`` stands for every node."""
    interrupt_after: tuple[str, ...] = ()
    """Nodes after which a thread pauses; ``*`` stands for every node."""
    durability: Durability = "sync"

    @cached_property
    def hash(self) -> str:
        """The first 12 hexadecimal digits of the SHA-256 of the spec's JSON."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]

    @cached_property
    def node_names(self) -> tuple[str, ...]:
        """The names of the declared nodes."""
        return tuple(node.name for node in self.nodes)

    @cached_property
    def _nodes_by_name(self) -> dict[str, NodeSpec]:
        return {node.name: node for node in self.nodes}

    @cached_property
    def _targets(self) -> dict[str, tuple[str, ...]]:
        targets: dict[str, tuple[str, ...]] = {}
        for source, target in self.edges:
            targets[source] = (*targets.get(source, ()), target)
        return targets

    def node(self, name: str) -> NodeSpec:
        """Return the node of a name.

        Raises:
            StepgraphError: the graph has no such node.
        """
        if name not in self._nodes_by_name:
            raise StepgraphError(f"Graph {self.name!r} ({self.hash}) has no node {name!r}.", graph=self.name, node=name)
        return self._nodes_by_name[name]

    def targets(self, source: str) -> tuple[str, ...]:
        """Return the nodes that a node's plain edges lead to, `END` included."""
        return self._targets.get(source, ())

    def fuses(self, name: str) -> bool:
        """Return whether a task of a node may run in one activity with other super-steps.

        Its durability must be ``"async"``, and it must run on the graph's own task queue.
        """
        if name == START:
            return self.durability == "async"
        node = self._nodes_by_name.get(name)
        return node is not None and node.task_queue is None and (node.durability or self.durability) == "async"

    def branches_of(self, source: str) -> tuple[BranchSpec, ...]:
        """Return the conditional edges of a node."""
        return tuple(branch for branch in self.branches if branch.source == source)

    def destinations(self, branch: BranchSpec) -> tuple[str, ...]:
        """Return the nodes that a conditional edge may lead to, `END` included."""
        return branch.ends if branch.ends is not None else (*self.node_names, END)

    @property
    def enters_by_router(self) -> bool:
        """Whether a router decides where the graph begins."""
        return bool(self.branches_of(START))
