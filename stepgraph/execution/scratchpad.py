"""`interrupt`, with which a node requests an answer from a human, and the answers that the running task has so far.

A call of `interrupt` without an answer ends the node. Once the answer is there, the node runs again from its beginning,
and the call returns the answer. Calls and answers are matched by their order, so a node that runs again must make the
same calls in the same order. Knows nothing of how an interrupt reaches a human or how the answer comes back.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any

from stepgraph.engine.checkpoint import InterruptRequest
from stepgraph.errors import InvalidUpdateError, StepgraphError
from stepgraph.execution.retry import MAX_SECONDS
from stepgraph.protocol.seen_by_langgraph import langgraph_types
from stepgraph.serde.plain_json import RoundTripError, as_json

NO_DEFAULT: Any = object()
"""Marks a call without a default, since `None` may be one."""


class GraphInterrupt(Exception):
    """Ends a node that has to wait for an answer. A node that catches it and goes on is not interrupted."""

    def __init__(self, request: InterruptRequest) -> None:
        super().__init__(f"waits for an answer to {request.value!r}")
        self.request = request


def _interrupt_class() -> type[GraphInterrupt]:
    """Return the class to raise. If LangGraph is loaded, its `ToolNode` takes it for no error of a tool."""
    bubble_up = getattr(sys.modules.get("langgraph.errors"), "GraphBubbleUp", None)
    return GraphInterrupt if bubble_up is None else _class_that_bubbles_up(bubble_up)


@cache
def _class_that_bubbles_up(bubble_up: type[Exception]) -> type[GraphInterrupt]:
    return type("GraphInterrupt", (GraphInterrupt, bubble_up), {})


@dataclass
class Scratchpad:
    """The answers of one attempt at a task, and how many calls of `interrupt` the node has made."""

    idempotency_key: str
    answers: Sequence[Any]
    calls: int = 0

    def next_answer(self, value: Any, timeout: float | None, default: Any) -> Any:
        """Return the answer to the next call; raise `GraphInterrupt` if there is none yet."""
        index = self.next_call()
        if index < len(self.answers):
            return self.answers[index]
        raise self.interrupt_at(index, value, timeout, default)

    def next_call(self) -> int:
        """Return the number of the call that is made now; the first is 0."""
        self.calls += 1
        return self.calls - 1

    def interrupt_at(
        self, index: int, value: Any, timeout: float | None = None, default: Any = NO_DEFAULT
    ) -> GraphInterrupt:
        """Return what ends the node at a call without an answer."""
        request = InterruptRequest(
            id=interrupt_id(self.idempotency_key, index), value=_as_json("value", value), timeout=timeout
        )
        if default is not NO_DEFAULT:
            request = request.model_copy(update={"default": _as_json("default", default), "has_default": True})
        return _interrupt_class()(request)


current_scratchpad: ContextVar[Scratchpad] = ContextVar("stepgraph_scratchpad")


def interrupt(value: Any, *, timeout: float | timedelta | None = None, default: Any = NO_DEFAULT) -> Any:
    """Request an answer from a human, and return it. Meanwhile the thread waits, for months if need be, at no cost.

    Args:
        value: what the human who answers is shown; plain JSON data.
        timeout: seconds, or a `timedelta`, after which the default is the answer; needs ``default``.
        default: the answer if no other has come in time; plain JSON data.

    Raises:
        StepgraphError: called outside a node.
        InvalidUpdateError: the value or the default is not plain JSON data, or a timeout has no default.

    Examples:
        >>> def approve(state):  # doctest: +SKIP
        ...     return {"approved": interrupt({"draft": state["draft"]}) == "yes"}
    """
    scratchpad = current_scratchpad.get(None)
    if scratchpad is None:
        if timeout is None and default is NO_DEFAULT:
            return _langgraph_interrupt(value)
        raise StepgraphError(
            "interrupt(timeout=..., default=...) was called outside a node, or in a graph that LangGraph runs. Call it "
            "from inside a node of a stepgraph.StateGraph."
        )
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    if seconds is not None and (default is NO_DEFAULT or not 0 < seconds <= MAX_SECONDS):
        raise InvalidUpdateError(
            f"interrupt(timeout={timeout!r}) needs a positive timeout of at most ten years, and default=... as the "
            "answer after it."
        )
    return scratchpad.next_answer(value, seconds, default)


def interrupt_id(idempotency_key: str, index: int) -> str:
    """Return the id of a task's call number ``index``. It is unique, so an answer never reaches another interrupt."""
    return hashlib.sha256(f"{idempotency_key}/{index}".encode()).hexdigest()[:16]


def _as_json(argument: str, value: Any) -> Any:
    try:
        return as_json(value)
    except RoundTripError as error:
        raise InvalidUpdateError(
            f"The {argument} of an interrupt is shown to humans and other programs, so it must be plain JSON: {error}."
        ) from error


def _langgraph_interrupt(value: Any) -> Any:
    """Request an answer by LangGraph's `interrupt`: an adopted graph's node calls ours."""
    langgraph = langgraph_types()
    if langgraph is not None:
        with suppress(RuntimeError, KeyError):  # outside of its nodes
            return langgraph.interrupt(value)
    raise StepgraphError("interrupt() was called outside a node. Call it from inside one.")
