"""The answers that a running task has been given, and `interrupt`, by which its node asks for the next one.

A node that calls `interrupt` ends there; when an answer is given it runs again from its top, and the call returns the
answer. Calls and answers match by their order in the node, so what comes before a call must lead to it again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NoReturn

from stepgraph.engine.checkpoint import InterruptRequest
from stepgraph.errors import InvalidUpdateError, StepgraphError
from stepgraph.serde.plain_json import RoundTripError, as_json

NO_DEFAULT: Any = object()


class GraphInterrupt(Exception):
    """Ends a node that waits for an answer. Let it pass: a node that catches it is not interrupted."""

    def __init__(self, ask: InterruptRequest) -> None:
        super().__init__(f"waits for an answer to {ask.value!r}")
        self.interrupt = ask


@dataclass
class Scratchpad:
    """The answers that a task has been given, and how many of them its node has taken."""

    task: str
    """The task's idempotency key."""
    answers: Sequence[Any]
    taken: int = field(default=0)

    def next(self, value: Any, timeout: float | None, default: Any) -> Any:
        """The next answer, if there is one; otherwise the node is interrupted."""
        index = self.taken
        self.taken += 1
        if index < len(self.answers):
            return self.answers[index]
        ask = InterruptRequest(id=interrupt_id(self.task, index), value=_plain("value", value), timeout=timeout)
        if default is not NO_DEFAULT:
            ask = ask.model_copy(update={"default": _plain("default", default), "has_default": True})
        raise GraphInterrupt(ask)


scratchpad: ContextVar[Scratchpad] = ContextVar("stepgraph_asking")


def interrupt(value: Any, *, timeout: float | timedelta | None = None, default: Any = NO_DEFAULT) -> Any:
    """Asks people something, and returns their answer: the thread waits for it, for months if need be, at no cost.

    Args:
        value: what is asked; plain JSON, shown to whoever is to answer.
        timeout: seconds, or a `timedelta`, after which the default is the answer; needs ``default``.
        default: the answer when nobody gave one in time.

    Raises:
        StepgraphError: called outside a node.
        InvalidUpdateError: what is asked is no plain JSON, or a timeout came without a default.
    """
    try:
        current = scratchpad.get()
    except LookupError:
        raise StepgraphError("interrupt() asks from inside a node; this is not one.") from None
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    if seconds is not None and (default is NO_DEFAULT or not seconds > 0):
        raise InvalidUpdateError(
            f"interrupt(timeout={timeout!r}) needs a positive time, and default=... for the answer then."
        )
    return current.next(value, seconds, default)


def interrupt_id(task: str, index: int) -> str:
    """An id of its own for each call of each task: an answer never meets a question it was not meant for."""
    return hashlib.sha256(f"{task}/{index}".encode()).hexdigest()[:16]


def _plain(what: str, value: Any) -> Any:
    try:
        return as_json(value)
    except RoundTripError as error:
        _refuse(what, error)


def _refuse(what: str, error: RoundTripError) -> NoReturn:
    raise InvalidUpdateError(
        f"The {what} of an interrupt is shown to people and other programs, so it must be plain JSON: {error}."
    ) from error
