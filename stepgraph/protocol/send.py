"""LangGraph's `Send`: one more run of a node, with an input of its own."""

from __future__ import annotations

from dataclasses import InitVar, dataclass
from typing import Any

from stepgraph.protocol.seen_by_langgraph import SeenByLangGraph
from stepgraph.protocol.unsupported import unsupported


@dataclass(frozen=True)
class Send(SeenByLangGraph):
    """Runs a node in the next super-step, with an input of its own in place of the state.

    A router returns `Send`s beside, or instead of, names of nodes; so does a node, in ``Command(goto=[...])``. A node
    may be sent any number of times: each is a task of its own.

    Args:
        node: the node's name.
        arg: what the node gets as its state.
        timeout: LangGraph's, which is refused: a node's timeout is set where it is added.

    Raises:
        UnsupportedError: there is a timeout.

    Examples:
        >>> def fan_out(state):
        ...     return [Send("write", {"topic": topic}) for topic in state["topics"]]
        >>> fan_out({"topics": ["tides"]})
        [Send(node='write', arg={'topic': 'tides'})]
    """

    node: str
    arg: Any
    timeout: InitVar[Any] = None

    def __post_init__(self, timeout: Any) -> None:
        """Refuse a timeout."""
        if timeout is not None:
            raise unsupported("Send(timeout=)", "timeout", "set it at the node: add_node(..., timeout=...)")
