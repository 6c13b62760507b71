"""`StateGraph.set_node_defaults`: options for all nodes that have none of their own, however they were added."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stepgraph.engine.spec import NodeSpec
from stepgraph.execution.registry import RegisteredNode
from stepgraph.graph.node_options import node_timeout, retry_policies, retry_spec

ALL = "set_node_defaults"
"""What messages name in the place of a node."""


class NodeDefaults:
    """The defaults of a graph under construction, and which nodes have their own options."""

    def __init__(self) -> None:
        self._retry_policy: Any = None
        self._timeout: Any = None
        self._own: dict[str, tuple[bool, bool]] = {}
        """By node: whether it has a retry policy and a timeout of its own."""

    def note(self, node: str, retry_policy: Any, timeout: Any) -> None:
        """Note the options with which a node was added; `None` stands for the default."""
        self._own[node] = (retry_policy is not None, timeout is not None)

    def set(self, retry_policy: Any, timeout: Any) -> None:
        """Set defaults; `None` leaves one as it is. Raises `GraphDefinitionError` for an unusable one."""
        retry_spec(ALL, retry_policies(ALL, retry_policy))
        node_timeout(ALL, timeout)
        self._retry_policy = self._retry_policy if retry_policy is None else retry_policy
        self._timeout = self._timeout if timeout is None else timeout

    def apply(
        self, specs: Mapping[str, NodeSpec], functions: Mapping[str, RegisteredNode]
    ) -> tuple[dict[str, NodeSpec], dict[str, RegisteredNode]]:
        """Return the specs and functions of all nodes, with the defaults in them."""
        policies = retry_policies(ALL, self._retry_policy)
        seconds, timeout_policy = node_timeout(ALL, self._timeout)
        with_defaults, with_code = dict(specs), dict(functions)
        for name, (own_retry, own_timeout) in self._own.items():
            if not own_retry:
                with_defaults[name] = with_defaults[name].model_copy(update={"retry": retry_spec(name, policies)})
                with_code[name] = replace(with_code[name], retry_policies=policies)
            if not own_timeout:
                with_defaults[name] = with_defaults[name].model_copy(update={"timeout": seconds})
                with_code[name] = replace(with_code[name], timeout_policy=timeout_policy)
        return with_defaults, with_code
