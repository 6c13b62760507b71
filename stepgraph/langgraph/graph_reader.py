"""A compiled LangGraph graph as the spec of a graph: its nodes, edges, joins and branches as data.

All of it is taken from the builder that LangGraph keeps. What cannot be taken over is refused here, by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from langgraph.types import RetryPolicy as LangGraphRetryPolicy

from stepgraph.engine.joins import JoinSpec
from stepgraph.engine.spec import BranchSpec, Durability, GraphSpec, NodeSpec
from stepgraph.errors import GraphDefinitionError
from stepgraph.execution.channels import Channel
from stepgraph.execution.node_timeout import TimeoutPolicy
from stepgraph.execution.retry import RetryPolicy
from stepgraph.langgraph.value_classes import Compiled
from stepgraph.protocol.task_request import HEARTBEAT_TIMEOUT

NODE_TIMEOUT = 86_400.0
"""Seconds that one attempt at a node may take, as for a node of stepgraph's own."""


def spec_of(
    graph: Compiled, name: str, channels: Iterable[Channel], *, authors: Sequence[str], durability: Durability
) -> GraphSpec:
    """Return a graph as data.

    Args:
        graph: LangGraph's compiled graph.
        name: the name under which it runs.
        channels: its channels.
        authors: the virtual authors.
        durability: when its super-steps are recorded.

    Raises:
        GraphDefinitionError: the graph has something that stepgraph does not run.
    """
    builder = graph.builder
    return GraphSpec(
        name=name,
        channels=tuple(channel.spec for channel in channels),
        nodes=tuple(_node(graph, name, node) for node in sorted(builder.nodes)),
        edges=tuple(sorted(builder.edges)),
        joins=tuple(JoinSpec(sources=sources, target=target) for sources, target in sorted(builder.waiting_edges)),
        branches=tuple(
            BranchSpec(source=source, name=branch, ends=_ends(spec.ends), labels=_labels(spec.ends))
            for source, branches in builder.branches.items()
            for branch, spec in branches.items()
        ),
        authors=tuple(author for author in authors if author not in builder.nodes),
        interrupt_before=_names(graph.interrupt_before_nodes),
        interrupt_after=_names(graph.interrupt_after_nodes),
        durability=durability,
        input_channels=tuple(name for name in builder.schemas[builder.input_schema] if name in builder.channels),
        output_channels=_names(graph.output_channels),
        ignores_unknown_keys=True,
    )


def retry_policies_of(graph: Compiled, node: str) -> tuple[RetryPolicy, ...]:
    """Return a node's retry policies: its own, or the graph's."""
    declared: Any = graph.nodes[node].retry_policy or graph.retry_policy
    policies = [declared] if isinstance(declared, LangGraphRetryPolicy) else declared or ()
    return tuple(RetryPolicy(*policy) for policy in policies)


def timeout_policy_of(graph: Compiled, node: str) -> TimeoutPolicy | None:
    """Return a node's policy of timeouts."""
    policy = graph.nodes[node].timeout
    if policy is None:
        return None
    return TimeoutPolicy(
        run_timeout=policy.run_timeout, idle_timeout=policy.idle_timeout, refresh_on=policy.refresh_on
    ).checked()


def _seconds(value: Any) -> float:
    return float(value or 0)


def _node(graph: Compiled, name: str, node: str) -> NodeSpec:
    spec = graph.builder.nodes[node]
    if spec.cache_policy is not None:
        raise _refused(name, node, "has a cache policy", "remove it, or cache inside of the node")
    if graph.nodes[node].error_handler_node is not None:
        raise _refused(name, node, "has an error handler", "catch the exception inside of the node")
    if any(getattr(nested, "checkpointer", None) is True for nested in graph.nodes[node].subgraphs):
        raise _refused(
            name, node, "calls a graph with checkpointer=True", "compile it without, and keep what lasts in the state"
        )
    policies, timeout = retry_policies_of(graph, node), timeout_policy_of(graph, node)
    return NodeSpec(
        name=node,
        timeout=max(NODE_TIMEOUT, _seconds(timeout.run_timeout) if timeout is not None else 0.0),
        heartbeat_timeout=HEARTBEAT_TIMEOUT,
        ends=_ends(spec.ends) if spec.ends else None,
        end_labels=_labels(spec.ends) if isinstance(spec.ends, Mapping) else None,
        defer=spec.defer,
        retry=max(policies, key=lambda policy: policy.max_attempts).spec() if policies else None,
    )


def _refused(graph: str, node: str, has: str, mend: str) -> GraphDefinitionError:
    return GraphDefinitionError(
        f"Node {node!r} of graph {graph!r} {has}, which stepgraph does not run in a LangGraph graph. "
        f"{mend[0].upper()}{mend[1:]}.",
        graph=graph,
        node=node,
    )


def _ends(ends: Any) -> tuple[str, ...] | None:
    if ends is None:
        return None
    return tuple(dict.fromkeys(ends.values() if isinstance(ends, Mapping) else ends))


def _labels(ends: Any) -> tuple[str, ...] | None:
    if ends is None or len(set(ends.values())) != len(ends):
        return None
    return tuple(map(str, ends))


def _names(names: Any) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)
