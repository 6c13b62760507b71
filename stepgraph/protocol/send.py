"""LangGraph's `Send`: one more run of a node, with an input of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Send:
    """Runs a node in the next super-step, with an input of its own in place of the state.

    A router returns `Send`s beside, or instead of, names of nodes; so does a node, in ``Command(goto=[...])``. A node
    may be sent any number of times: each is a task of its own.

    Args:
        node: the node's name.
        arg: what the node gets as its state.

    Examples:
        >>> def fan_out(state):
        ...     return [Send("write", {"topic": topic}) for topic in state["topics"]]
        >>> fan_out({"topics": ["tides"]})
        [Send(node='write', arg={'topic': 'tides'})]
    """

    node: str
    arg: Any
