"""A graph's spec: the graph as plain data. Each run records the spec in its history, and works from that record.

Owns the shape of a graph (channels, nodes with their options, edges, joins, branches) and its hash. Refuses to know
functions: `stepgraph.execution.registry` finds them by name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, Final, Literal

from pydantic_core import to_json

from stepgraph.engine.constants import END, ROOT, START
from stepgraph.engine.folds import CUSTOM, LAST_VALUE
from stepgraph.engine.joins import JoinSpec
from stepgraph.errors import StepgraphError
from stepgraph.serde.formats import Data, Format

Durability = Literal["sync", "async", "exit"]
"""When a super-step is recorded in the history: ``"sync"``, before the next one starts; ``"async"``, together with the
super-steps that are fused with it, every half second; ``"exit"``, the same once the thread stands still."""

FUSING: Final = ("async", "exit")
"""The durabilities under which super-steps are fused."""

MAX_STAMP_TEXT = 80
"""Characters of a type's text in a stamp. Each checkpoint has the stamps of its channels."""

MAX_ATTEMPTS = 2**31 - 1
"""The largest number of attempts that Temporal's 32-bit field holds."""


class RetrySpec(Data):
    """The part of a retry policy that is data. Which exceptions are retried is decided by the node's code."""

    initial_interval: float
    """Seconds before the first retry."""
    backoff_factor: float
    max_interval: float
    """Seconds between two attempts at the most."""
    max_attempts: int
    jitter: bool


class NodeSpec(Data):
    """A node and its options. Times are in seconds."""

    name: str
    timeout: float
    heartbeat_timeout: float
    task_queue: str | None = None
    """The task queue that runs the node, if it is not the graph's."""
    retry: RetrySpec | None = None
    durability: Durability | None = None
    """`None` stands for the graph's."""
    ends: tuple[str, ...] | None = None
    """The nodes to which the node's commands lead, as far as its author says so."""
    end_labels: tuple[str, ...] | None = None
    """A label in drawings for each of ``ends``."""
    defer: bool = False
    """Whether the node, when it is due, waits until nothing else is due."""


class BranchSpec(Data):
    """A conditional edge: a router of ``source`` that chooses the nodes to run next."""

    source: str
    name: str
    """The router's name, unique at its source."""
    ends: tuple[str, ...] | None = None
    """The destinations that the router may choose; `None` stands for every node and `END`."""
    labels: tuple[str, ...] | None = None
    """What the router returns for each of ``ends``, if a mapping renames them."""


class ChannelSpec(Data):
    """One key of the state: how writes to it are folded, and what tells its type and its reducer from others."""

    name: str
    type: str
    """The declared type as text, for people."""
    reducer: str | None = None
    """The reducer's name, for people."""
    fold: str = LAST_VALUE
    """``last_value``, ``custom``, or the name of a built-in fold (`stepgraph.engine.folds`)."""
    has_zero: bool = False
    """Whether the first write is folded into ``zero``. Otherwise it becomes the value."""
    zero: Any = None
    """The type's empty value, as JSON data."""
    every_step: bool = False
    """Whether a custom fold runs in each super-step, also when nothing wrote to the channel."""
    untracked: bool = False
    """Whether the value lasts until the next input only. Snapshots do not show it."""
    fingerprint: str = ""
    """A hash of the type's JSON schema and of the reducer's source text."""

    @property
    def stamp(self) -> str:
        """What a value of the channel is stamped with: under which type, and which reducer, it was last proven."""
        text = self.type if self.reducer is None else f"{self.type} by {self.reducer}"
        return f"{text[:MAX_STAMP_TEXT]}#{self.fingerprint}"

    @property
    def folds(self) -> bool:
        """Whether several writes of one super-step are folded into one value."""
        return self.fold != LAST_VALUE


class GraphSpec(Format):
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
    input_channels: tuple[str, ...] | None = None
    """The channels that an input sets; `None` stands for all. What an input has of others is ignored."""
    output_channels: tuple[str, ...] | None = None
    """The channels that a result shows; `None` stands for all."""
    ignores_unknown_keys: bool = False
    """Whether keys that no channel has are left out of an input or an update. Otherwise they are an error."""

    @property
    def is_root(self) -> bool:
        """Whether the state is one value, in the channel `ROOT`."""
        return self.channel_names == (ROOT,)

    @cached_property
    def hash(self) -> str:
        """The first 12 hexadecimal digits of the SHA-256 of the spec's JSON, without the texts of types.

        These differ from one version of Python to another; the fingerprints do not.
        """
        data = self.to_json()
        for channel in data["channels"]:
            del channel["type"]
        return hashlib.sha256(to_json(data)).hexdigest()[:12]

    @cached_property
    def types_hash(self) -> str:
        """The first 8 hexadecimal digits of a hash of all channels' fingerprints.

        Values that were encoded by code with the same hash need no proof.
        """
        return types_hash({channel.name: channel.fingerprint for channel in self.channels})

    @cached_property
    def node_names(self) -> tuple[str, ...]:
        """The names of the declared nodes."""
        return tuple(node.name for node in self.nodes)

    @cached_property
    def channel_names(self) -> tuple[str, ...]:
        """The names of the channels, in the order in which the state declares them."""
        return tuple(self.channels_by_name)

    @cached_property
    def channels_by_name(self) -> Mapping[str, ChannelSpec]:
        """The channels by name."""
        return {channel.name: channel for channel in self.channels}

    @cached_property
    def folds(self) -> Mapping[str, str]:
        """The fold of each channel that has another one than the last value, by name."""
        return {channel.name: channel.fold for channel in self.channels if channel.folds}

    @cached_property
    def custom_channels(self) -> tuple[str, ...]:
        """The names of the channels whose reducer only the graph's code has."""
        return tuple(name for name, fold in self.folds.items() if fold == CUSTOM)

    @cached_property
    def zeros(self) -> Mapping[str, Any]:
        """The values of a new thread, as JSON data: the empty value of each channel that has one."""
        return {channel.name: channel.zero for channel in self.channels if channel.has_zero}

    def input_of(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return those of some values that an input sets."""
        names = self.input_channels if self.input_channels is not None else tuple(values)
        return {name: value for name, value in values.items() if name in names}

    def is_built_in(self, channel: str) -> bool:
        """Return whether a channel has a built-in fold."""
        return self.folds.get(channel, CUSTOM) != CUSTOM

    def stamps_of(self, names: Iterable[str]) -> dict[str, str]:
        """Return the stamps that this spec declares for some channels; unknown ones are left out."""
        return {name: self._stamps[name] for name in names if name in self._stamps}

    def deviating(self, stamps: Mapping[str, str]) -> dict[str, str]:
        """Return those stamps of a checkpoint's values that differ from what this spec declares."""
        declared = self._stamps
        return {
            name: stamp
            for name, stamp in stamps.items()
            if name in declared and declared[name] != stamp and not same_type(declared[name], stamp)
        }

    @cached_property
    def _nodes_by_name(self) -> dict[str, NodeSpec]:
        return {node.name: node for node in self.nodes}

    @cached_property
    def _targets(self) -> dict[str, tuple[str, ...]]:
        targets: dict[str, list[str]] = {}
        for source, target in self.edges:
            targets.setdefault(source, []).append(target)
        return {source: tuple(those) for source, those in targets.items()}

    @cached_property
    def _branches(self) -> dict[str, tuple[BranchSpec, ...]]:
        branches: dict[str, list[BranchSpec]] = {}
        for branch in self.branches:
            branches.setdefault(branch.source, []).append(branch)
        return {source: tuple(those) for source, those in branches.items()}

    @cached_property
    def _stamps(self) -> dict[str, str]:
        return {channel.name: channel.stamp for channel in self.channels}

    def has_node(self, name: str) -> bool:
        """Return whether the graph declares a node of that name."""
        return name in self._nodes_by_name

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

    def fuses(self, name: str, durability: Durability | None = None) -> bool:
        """Return whether a task of a node may run in one activity with other super-steps: on the graph's own task
        queue, and if its durability says so. ``durability`` is that of the invoke, if it has one of its own."""
        otherwise = durability or self.durability
        if name == START:
            return otherwise in FUSING
        node = self._nodes_by_name.get(name)
        return node is not None and node.task_queue is None and (node.durability or otherwise) in FUSING

    def branches_of(self, source: str) -> tuple[BranchSpec, ...]:
        """Return the conditional edges of a node."""
        return self._branches.get(source, ())

    def destinations(self, branch: BranchSpec) -> tuple[str, ...]:
        """Return the nodes that a conditional edge may lead to, `END` included."""
        return branch.ends if branch.ends is not None else (*self.node_names, END)

    def defers(self, name: str) -> bool:
        """Return whether a node, when it is due, waits until nothing else is due."""
        node = self._nodes_by_name.get(name)
        return node is not None and node.defer

    def command_ends(self, name: str) -> tuple[str, ...]:
        """Return the nodes to which a node's commands lead, as far as its author says so, `END` included."""
        node = self._nodes_by_name.get(name)
        return (node.ends or ()) if node is not None else ()

    @property
    def enters_by_router(self) -> bool:
        """Whether a router decides where the graph begins."""
        return bool(self.branches_of(START))


MIXED: Final = "several types#mixed"
"""The stamp of a value that a built-in fold made of parts that were proven under several types."""


def same_type(stamp: str | None, other: str | None) -> bool:
    """Return whether two stamps stand for the same type and reducer. Their texts may differ, their fingerprints not."""
    return stamp is not None and other is not None and stamp.rpartition("#")[2] == other.rpartition("#")[2]


def type_in(stamp: str | None) -> str | None:
    """Return the text of the type in a stamp."""
    return None if stamp is None else stamp.rpartition("#")[0]


def types_hash(fingerprints: Mapping[str, str]) -> str:
    """Return a hash of channels' fingerprints, by name: 8 hexadecimal digits."""
    return hashlib.sha256(to_json(dict(sorted(fingerprints.items())))).hexdigest()[:8]
