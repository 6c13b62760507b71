"""Checks that a graph can work, before it runs. Each error names the culprit, the rule and the fix."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Sequence
from typing import Any

from stepgraph.engine.constants import END, RESERVED, START
from stepgraph.engine.spec import GraphSpec
from stepgraph.errors import GraphDefinitionError, GraphWarning, suggest
from stepgraph.execution.state_schema import StateSchema
from stepgraph.serde.error_text import names_in

_GRAPH_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_NODE_NAME_MAX = 200


def graph_name(name: Any) -> str:
    """Return a graph's name if it is usable as a workflow type and in the names of activity types and task queues."""
    if not isinstance(name, str) or not _GRAPH_NAME.fullmatch(name):
        raise GraphDefinitionError(
            f"A graph's name must be 1 to 100 letters, digits, '_' or '-', the first a letter or digit; got {name!r}.",
            graph=name,
        )
    return name


def node_name(where: str, name: Any) -> str:
    """Return the name of a node to or from which an edge leads, if it is a string. `check_spec` looks for the node."""
    if not isinstance(name, str):
        raise GraphDefinitionError(f"{where} names nodes by their names; got {name!r}.", node=repr(name))
    return name


def check_node(name: str, existing: Collection[str], schema: StateSchema) -> None:
    """Refuse a node whose name is unusable or not unique.

    Args:
        name: the new node's name.
        existing: the names of the graph's other nodes.
        schema: the graph's state, whose keys no node may be named after.
    """
    if name in RESERVED or name.startswith("__"):
        raise GraphDefinitionError(f"Node name {name!r} is reserved. Choose one without leading '__'.", node=name)
    if (
        name != name.strip()
        or not name
        or len(name) > _NODE_NAME_MAX
        or any(char in "/|:" or not char.isprintable() for char in name)
    ):
        raise GraphDefinitionError(
            f"Node name {name!r} must have 1 to {_NODE_NAME_MAX} printable characters, none of them '/', '|' or ':', "
            "and no space at its ends.",
            node=name,
        )
    if name in existing:
        raise GraphDefinitionError(f"There are two nodes named {name!r}. Give each a name of its own.", node=name)
    if name in schema.channels:
        raise GraphDefinitionError(
            f"Node {name!r} has the name of a state key. Rename one of them, so that a history can tell them apart.",
            node=name,
        )


def check_spec(spec: GraphSpec) -> None:
    """Refuse a graph with an unknown node or without an entry point; warn of nodes that nothing leads to."""
    if not spec.nodes:
        raise GraphDefinitionError(f"Graph {spec.name!r} has no nodes. Add one with add_node().", graph=spec.name)
    for author in spec.authors:
        if author in spec.node_names or author in RESERVED or not author:
            raise GraphDefinitionError(
                f"The virtual author {author!r} has the name of a node. Name another in compile(authors=...).",
                node=author,
            )
    for name in (*spec.interrupt_before, *spec.interrupt_after):
        if name != "*" and name not in spec.node_names:
            raise _unknown_node(spec, name, f"breakpoint at {name!r}")
    _check_edges(spec)
    if not spec.targets(START) and not spec.enters_by_router:
        raise GraphDefinitionError(
            f"Graph {spec.name!r} has no entry point. Add one with add_edge(START, 'node').", graph=spec.name
        )
    if unreachable := _unreachable(spec):
        warnings.warn(
            f"Nothing leads from START to {names_in(unreachable)} in graph {spec.name!r}. Add an edge, name it in a "
            "path_map or in Command[Literal[...]], or remove it.",
            GraphWarning,
            stacklevel=3,
        )


def _check_edges(spec: GraphSpec) -> None:
    """Refuse edges from `END`, edges to `START`, and edges of nodes that do not exist."""
    known = {*spec.node_names}
    pairs = [
        *spec.edges,
        *((source, join.target) for join in spec.joins for source in join.sources),
        *((branch.source, end) for branch in spec.branches for end in (branch.ends or ())),
        *((node.name, end) for node in spec.nodes for end in (node.ends or ())),
    ]
    for branch in spec.branches:
        if branch.source == END:
            raise GraphDefinitionError(
                f"The conditional edge {branch.name!r} starts at END, where nothing can follow. Remove it.", node=END
            )
        if branch.source not in known and branch.source != START:
            raise _unknown_node(spec, branch.source, f"conditional edge {branch.name!r} from {branch.source!r}")
    for source, target in pairs:
        edge = f"edge {source!r} -> {target!r}"
        if source == END:
            raise GraphDefinitionError(f"The {edge} starts at END, where nothing can follow. Remove it.", node=END)
        if target == START:
            raise GraphDefinitionError(f"The {edge} leads to START. Let it lead to the first node instead.", node=START)
        for name in (source, target):
            if name not in known and name not in RESERVED:
                raise _unknown_node(spec, name, edge)


def _unreachable(spec: GraphSpec) -> list[str]:
    """Return the nodes that no path from `START` leads to."""
    reached = {START}
    unexplored = [START]
    joins: dict[str, list[tuple[str, set[str]]]] = {}  # by source: a join's target, and its sources not yet reached
    for join in spec.joins:
        missing = set(join.sources)
        for source in join.sources:
            joins.setdefault(source, []).append((join.target, missing))
    while unexplored:
        name = unexplored.pop()
        for target in _possible_targets(spec, name, joins.get(name, ())):
            if target not in reached:
                reached.add(target)
                unexplored.append(target)
    return [name for name in spec.node_names if name not in reached]


def _possible_targets(spec: GraphSpec, name: str, joins: Sequence[tuple[str, set[str]]]) -> list[str]:
    """Return where a node that is reached now may lead; through a join only if it is the last source to be reached."""
    targets = [*spec.targets(name), *spec.command_ends(name)]
    for branch in spec.branches_of(name):
        targets += spec.destinations(branch)
    for target, missing in joins:
        missing.discard(name)
        if not missing:
            targets.append(target)
    return targets


def _unknown_node(spec: GraphSpec, name: str, where: str) -> GraphDefinitionError:
    return GraphDefinitionError(
        f"The {where} names a node {name!r} that does not exist.{suggest(name, spec.node_names)}", node=name
    )
