"""LangGraph's `Interrupt` and `Command`: what a node asks a human for, and how callers answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple


class Interrupt(NamedTuple):
    """A node's request for an answer, as snapshots and ``result["__interrupt__"]`` show it."""

    value: Any
    """What the node passed to `interrupt`."""
    id: str
    deadline: str | None = None
    """When the default becomes the answer; ISO 8601, UTC. `None` without a timeout."""


@dataclass(frozen=True)
class Command:
    """Answers interrupts; passed to `invoke` in place of an input.

    Args:
        resume: the answer to the one interrupt that waits, or a mapping from interrupt ids to answers.

    Examples:
        >>> graph.invoke(Command(resume="yes"), config)  # doctest: +SKIP
    """

    resume: Any
