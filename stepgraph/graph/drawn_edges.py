"""Which edges a drawing shows: LangGraph's, which come of walking through the graph without running its nodes.

The walk takes every destination that a router or a command declares. So an edge is drawn where something can come from;
a router that declares no destinations has no edge, and neither has a node that nothing leads to. The walk ends when
nothing is due any more, or after `MAX_STEPS` super-steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from stepgraph.engine.constants import END, START
from stepgraph.engine.spec import GraphSpec

MAX_STEPS: Final = 251


class Edge(NamedTuple):
    """An edge of a drawing, with the fields of LangChain's."""

    source: str
    target: str
    data: str | None = None
    """Its label."""
    conditional: bool = False
    """Whether a router or a command chooses it."""


class _Write(NamedTuple):
    """What a node sets off: the trigger of other nodes."""

    trigger: str
    conditional: bool = False
    label: str | None = None


class _Found(NamedTuple):
    """An edge as the walk finds it."""

    source: str
    target: str
    conditional: bool
    label: str | None


def drawn_edges(spec: GraphSpec) -> list[Edge]:
    """Return the edges of a graph's drawing, in order."""
    found, last_step = _Walk(spec).found()
    ordered = sorted(found, key=lambda edge: (*edge[:3], edge.label or ""))
    edges: dict[tuple[str, str], Edge] = {}
    for edge in ordered:
        label = edge.label if edge.label != edge.target else None
        edges.setdefault((edge.source, edge.target), Edge(edge.source, edge.target, label, edge.conditional))
    sources = {edge.source for edge in found}
    ends = sorted({edge.target for edge in found if edge.target != END} - sources)
    if ends:
        for source in ends:
            edges.setdefault((source, END), Edge(source, END))
    elif len(last_step) == 1 and not any(edge.target == END for edge in found):
        edges.setdefault((last_step[0], END), Edge(last_step[0], END, conditional=True))
    return list(edges.values())


class _Walk:
    """A walk through a graph, super-step by super-step."""

    def __init__(self, spec: GraphSpec) -> None:
        self._spec = spec
        self._found: set[_Found] = set()
        self._declared: dict[str, set[_Write]] = {}
        """By node, what its routers and commands declare. It is there once the node has been visited."""
        self._writes: dict[str, set[_Write]] = {}
        """By node, what it set off last."""
        self._joined: dict[str, set[str]] = {join.key: set() for join in spec.joins}
        """By join, its sources that have been visited since it last set its target off."""
        self._deferred: dict[str, None] = {}
        """Deferred nodes that are due once nothing else is, in order."""
        self._triggers: dict[str, list[str]] = {name: [_to(name)] for name in spec.node_names}
        for join in spec.joins:
            if join.target in self._triggers:
                self._triggers[join.target].append(f"join:{join.key}")

    def found(self) -> tuple[set[_Found], list[str]]:
        """Return the edges, and the nodes of the last super-step."""
        tasks, visited = [START], [START]
        for _ in range(MAX_STEPS):
            if not tasks:
                break
            visited, fired = tasks, []
            step: dict[str, set[_Write]] = {}
            for node in tasks:
                step[node], sent = self._visit(node)
                fired += sent
            self._writes.update(step)
            tasks = self._due(fired)
            for node in tasks:
                self._note_edges(node, step)
        return self._found, visited

    def _visit(self, node: str) -> tuple[set[_Write], list[str]]:
        """Visit a node; return what it sets off with how, and the triggers alone."""
        plain = [_to(target) for target in self._spec.targets(node) if target != END]
        plain += [f"join:{join.key}" for join in self._spec.joins if node in join.sources and join.target != END]
        conditional: dict[str, str | None] = {}
        if node not in self._declared:
            self._declared[node] = set()
            for target, label in self._destinations(node):
                if target == END:
                    self._found.add(_Found(node, END, True, label))
                else:
                    conditional[_to(target)] = label
                    self._declared[node].add(_Write(_to(target), True, label))
        for trigger in plain:
            if trigger.startswith("join:"):
                self._joined[trigger.removeprefix("join:")].add(node)
        sent = [*plain, *conditional]
        writes = {_Write(trigger, trigger in conditional, conditional.get(trigger)) for trigger in sent}
        return writes | self._declared[node], sent

    def _destinations(self, node: str) -> Iterator[tuple[str, str | None]]:
        """Yield the destinations that a node's commands and routers declare, with their labels."""
        if self._spec.has_node(node):
            declared = self._spec.node(node)
            yield from zip(declared.ends or (), declared.end_labels or [None] * len(declared.ends or ()), strict=True)
        for branch in self._spec.branches_of(node):
            yield from zip(branch.ends or (), branch.labels or branch.ends or (), strict=True)

    def _due(self, fired: list[str]) -> list[str]:
        """Return the nodes that are due after a super-step that set these triggers off."""
        due: dict[str, None] = {}
        for node, triggers in self._triggers.items():
            if any(self._is_complete(trigger) for trigger in triggers if trigger in fired):
                due[node] = None
        for node in [name for name in due if self._spec.node(name).defer]:
            del due[node]
            self._deferred[node] = None
        if due:
            return list(due)
        waiting, self._deferred = list(self._deferred), {}
        return waiting

    def _is_complete(self, trigger: str) -> bool:
        """Return whether a trigger sets its node off: a join does once all of its sources have been visited."""
        if not trigger.startswith("join:"):
            return True
        key = trigger.removeprefix("join:")
        sources = next(join.sources for join in self._spec.joins if join.key == key)
        if not self._joined[key].issuperset(sources):
            return False
        self._joined[key] = set()
        return True

    def _note_edges(self, node: str, step: Mapping[str, set[_Write]]) -> None:
        """Note the edges to a node that is due, from those that have set its triggers off."""
        is_set_off_now = False
        for trigger in self._triggers[node]:
            for source, write in self._sources_of(trigger):
                self._found.add(_Found(source, node, write.conditional, write.label))
                if write in step.get(source, ()):
                    is_set_off_now = True
                else:
                    self._writes[source].discard(write)
        if not is_set_off_now:
            self._found.update(_Found(source, node, True, None) for source in step)

    def _sources_of(self, trigger: str) -> list[tuple[str, _Write]]:
        return [(node, write) for node, writes in self._writes.items() for write in writes if write.trigger == trigger]


def _to(node: str) -> str:
    return f"to:{node}"
