"""From an exception of a node to what a thread keeps of it, and to what the caller is told."""

from __future__ import annotations

import traceback
from types import TracebackType

from stepgraph.engine.checkpoint import TaskFailure
from stepgraph.engine.thread import Thread
from stepgraph.errors import MissingNodeError, NodeError, StepgraphError, sendable

LEADING_THERE = ("stepgraph", "stepgraph_activities", "asyncio", "concurrent", "contextvars")
"""Packages whose frames stand between a worker and a node."""

TEXT_LIMIT = 20_000
"""Characters kept of an exception's message, and of its traceback."""


def failure_from(error: BaseException, *, attempts: int) -> TaskFailure:
    """What is kept of an exception that a task ended with."""
    return TaskFailure(
        error_type=f"{type(error).__module__}:{type(error).__qualname__}",
        error_message=_text(error)[:TEXT_LIMIT],
        traceback=sendable("".join(traceback.format_exception(type(error), error, _from_the_node_on(error))))[
            -TEXT_LIMIT:
        ],
        attempts=attempts,
        error=error.to_wire() if isinstance(error, StepgraphError) else None,
    )


def _from_the_node_on(error: BaseException) -> TracebackType | None:
    """The traceback without the frames that lead to the author's code; all of it, if it never got there."""
    found = error.__traceback__
    while found is not None and str(found.tb_frame.f_globals.get("__name__")).partition(".")[0] in LEADING_THERE:
        found = found.tb_next
    return found or error.__traceback__


def node_error(thread: Thread) -> NodeError:
    """What the caller is told of the failures at the head: the first of them, in the order of the tasks."""
    head = thread.head
    assert head is not None
    task, failure = next((task, failure) for task, _, failure in thread.task_outcomes(head) if failure is not None)
    others = [other.id for other, _, failed in thread.task_outcomes(head) if failed is not None and other.id != task.id]
    also = f" Also failed: {', '.join(map(repr, others))}." if others else ""
    finished = [other.id for other, result, _ in thread.task_outcomes(head) if result is not None]
    kept = f" Finished beside it, and kept: {', '.join(map(repr, finished))}." if finished else ""
    own = failure.error or {}
    kind = MissingNodeError if own.get("type") == MissingNodeError.__name__ else NodeError
    parts = {
        **own.get("parts", {}),
        **failure.model_dump(mode="json", exclude={"error"}),
        "graph": thread.spec.name,
        "node": task.node,
        "step": task.step,
        "thread_id": thread.thread_id,
        "checkpoint_id": head.id,
    }
    return kind(
        f"Node {task.node!r} of graph {thread.spec.name!r} failed in step {task.step} of thread {thread.thread_id!r}: "
        f"{failure.summary.rstrip('.')}.{also}{kept}",
        **parts,
    )


def _text(error: BaseException) -> str:
    try:
        return sendable(str(error))
    except Exception as own:  # an exception that cannot even be shown
        return f"(its text cannot be had: {type(own).__name__})"
