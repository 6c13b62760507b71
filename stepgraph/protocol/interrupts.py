"""What a node asks people, and how they answer: LangGraph's `Interrupt` and `Command`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple


class Interrupt(NamedTuple):
    """What a node asks, as a snapshot and ``result["__interrupt__"]`` tell it."""

    value: Any
    id: str
    deadline: str | None = None
    """When the default answers for whoever did not; ISO 8601, UTC."""


@dataclass(frozen=True)
class Command:
    """In place of an input: answers interrupts.

    Args:
        resume: the answer to the one interrupt that waits, or a mapping from interrupt ids to answers.

    Example:
        >>> graph.invoke(Command(resume="yes"), config)  # doctest: +SKIP
    """

    resume: Any
