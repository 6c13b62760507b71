"""The code of a graph as it is here, for a run with the spec that the run has recorded.

The two may differ: the code may have been deployed while the thread was open. The run's spec decides which routers are
asked and how channels are folded. The code at hand decides what nodes, routers and custom reducers do, and which types
values have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from stepgraph.engine.spec import GraphSpec
from stepgraph.execution.channels import Channels
from stepgraph.execution.node_services import NO_SERVICES, NodeServices
from stepgraph.execution.registry import GraphRegistry, RegisteredNode, RegisteredRouter


@dataclass(frozen=True)
class RunCode:
    """A graph's code, and the spec of the run that calls it."""

    registry: GraphRegistry
    spec: GraphSpec
    """As the run has recorded it."""
    services: NodeServices = NO_SERVICES
    """What this process provides to the graph's functions."""

    def starting_at(self, time: float) -> RunCode:
        """Return the same for a task whose first attempt starts at a time, in seconds since 1970."""
        return replace(self, services=replace(self.services, first_attempt_time=time))

    @property
    def channels(self) -> Channels:
        """The channels that the code declares."""
        return self.registry.schema.channels

    def node(self, name: str) -> RegisteredNode:
        """Return a node's code; raise `MissingNodeError` if there is none."""
        return self.registry.node(name, self.spec.hash)

    def router(self, source: str, name: str) -> RegisteredRouter:
        """Return a router's code; raise `MissingNodeError` if there is none. ``source``: the node it belongs to."""
        return self.registry.router(source, name, self.spec.hash)

    def routers_of(self, node: str) -> tuple[str, ...]:
        """Return the names of the routers that the run asks after a node."""
        return tuple(branch.name for branch in self.spec.branches_of(node))

    def recorded_stamps(self, stamps: Mapping[str, str]) -> Mapping[str, str] | None:
        """Return the stamp under which the value of each channel was recorded.

        Args:
            stamps: those that differ from the stamps of the run's spec.

        Returns:
            `None` if all values were recorded under the types of the code at hand: nothing has to be proven.
        """
        if not stamps and self._has_recorded_types:
            return None
        return {channel.name: channel.stamp for channel in self.spec.channels} | dict(stamps)

    def own_stamps(self, names: Iterable[str], stamps: Mapping[str, str]) -> dict[str, str]:
        """Return the stamps of channels that the code wrote or proved, as far as the run would not expect them.

        ``stamps`` are those of the values before that differ from the stamps of the run's spec.
        """
        if not stamps and self._has_recorded_types:
            return {}
        wanted = set(names)
        return {channel.name: channel.spec.stamp for channel in self.channels if channel.name in wanted}

    @property
    def _has_recorded_types(self) -> bool:
        return self.spec.types_hash == self.channels.types_hash
