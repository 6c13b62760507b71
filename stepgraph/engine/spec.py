"""A graph as plain data: what a run records in its own history and works from ever after.

Owns the shape of a graph (channels, nodes with their options, edges, joins, branches) and its fingerprint. Knows
nothing of functions: callables are found by name in `stepgraph.execution.registry`.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Literal

from pydantic import BaseModel, ConfigDict

from stepgraph.engine.constants import END, START
from stepgraph.errors import StepgraphError

Durability = Literal["sync", "async"]
"""When a super-step is on disk: before the next one starts, or together with the next ones, a moment later."""


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class RetrySpec(_Data):
    """The part of a retry policy that is data; which exceptions it names is decided by the node's code."""

    initial_interval: float
    """Seconds before the first retry."""
    backoff_factor: float
    max_interval: float
    """Seconds between two attempts at the most."""
    max_attempts: int
    jitter: bool


class NodeSpec(_Data):
    """A node and its options; times are in seconds."""

    name: str
    timeout: float
    heartbeat_timeout: float
    task_queue: str | None = None
    retry: RetrySpec | None = None
    durability: Durability | None = None
    """`None` is the graph's."""


class JoinSpec(_Data):
    """``add_edge([a, b], c)``: the target is triggered once all sources have finished, then the join starts anew."""

    sources: tuple[str, ...]
    target: str

    @property
    def key(self) -> str:
        """The join's name in a checkpoint's progress; '|', which no node's name has, tells signs of a name apart."""
        return f"{'+'.join(map(_escaped, self.sources))}>{_escaped(self.target)}"


def _escaped(name: str) -> str:
    return name.replace("+", "|+").replace(">", "|>")


class BranchSpec(_Data):
    """A conditional edge; ``ends`` lists its possible destinations, ``None`` says it may lead anywhere."""

    source: str
    name: str
    ends: tuple[str, ...] | None = None
    labels: tuple[str, ...] | None = None
    """What the router returns for each of ``ends``, where a mapping renames them."""


class ChannelSpec(_Data):
    """One key of the state."""

    name: str
    type: str
    reducer: str | None = None


class GraphSpec(_Data):
    """The whole graph. Everything is in a fixed order, so equal graphs have equal fingerprints."""

    name: str
    channels: tuple[ChannelSpec, ...]
    nodes: tuple[NodeSpec, ...]
    edges: tuple[tuple[str, str], ...] = ()
    joins: tuple[JoinSpec, ...] = ()
    branches: tuple[BranchSpec, ...] = ()
    authors: tuple[str, ...] = ()
    """Virtual authors: who may sign an update without being a node."""
    interrupt_before: tuple[str, ...] = ()
    """Breakpoints: nodes before which a thread stops; ``*`` for all."""
    interrupt_after: tuple[str, ...] = ()
    durability: Durability = "sync"

    @cached_property
    def hash(self) -> str:
        """The first 12 hexadecimal digits of the SHA-256 of the spec's JSON."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]

    @cached_property
    def node_names(self) -> tuple[str, ...]:
        """The declared nodes, by name."""
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
        """The node of that name."""
        if name not in self._nodes_by_name:
            raise StepgraphError(f"Graph {self.name!r} ({self.hash}) has no node {name!r}.", graph=self.name, node=name)
        return self._nodes_by_name[name]

    def targets(self, source: str) -> tuple[str, ...]:
        """Where the plain edges of a node lead, `END` included."""
        return self._targets.get(source, ())

    def fuses(self, name: str) -> bool:
        """Whether a task of that node may be run together with the super-steps before and after it."""
        if name == START:
            return self.durability == "async"
        node = self._nodes_by_name.get(name)
        return node is not None and node.task_queue is None and (node.durability or self.durability) == "async"

    def branches_of(self, source: str) -> tuple[BranchSpec, ...]:
        """The conditional edges of a node."""
        return tuple(branch for branch in self.branches if branch.source == source)

    def destinations(self, branch: BranchSpec) -> tuple[str, ...]:
        """Where a conditional edge may lead, `END` included."""
        return branch.ends if branch.ends is not None else (*self.node_names, END)

    @property
    def enters_by_router(self) -> bool:
        """Whether user code decides where a run of the graph starts."""
        return bool(self.branches_of(START))
