"""Failures of nodes: what a thread records of an exception, and the error that a caller gets for it."""

from __future__ import annotations

import traceback
from types import TracebackType

from stepgraph.engine.checkpoint import TaskFailure, repr_of
from stepgraph.engine.thread_view import ThreadView
from stepgraph.errors import MissingNodeError, NodeError, StepgraphError, sendable
from stepgraph.serde.error_text import names_in

TEXT_LIMIT = 20_000
"""Characters that are recorded of an exception's message, and of its traceback."""

_CALLING_PACKAGES = ("stepgraph", "stepgraph_activities", "asyncio", "concurrent", "contextvars")
"""Packages whose frames come before the node's own in a traceback."""


def failure_from(error: BaseException, *, attempts: int) -> TaskFailure:
    """Return what to record of the exception that ended a task, after so many attempts."""
    frames = traceback.format_exception(type(error), error, _without_calling_frames(error))
    error_type, message = f"{type(error).__module__}:{type(error).__qualname__}", _message_of(error)
    representation = _repr_of(error)
    return TaskFailure(
        error_type=error_type,
        error_message=message[:TEXT_LIMIT],
        error_repr=None if representation in (None, repr_of(error_type, message)) else representation[:TEXT_LIMIT],
        traceback=sendable("".join(frames))[-TEXT_LIMIT:],
        attempts=attempts,
        error=error.to_wire() if isinstance(error, StepgraphError) else None,
    )


def node_error(thread: ThreadView) -> NodeError:
    """Return the error for the failed tasks at a thread's head.

    It describes the first failure in the order of the tasks, and names the other tasks that failed, and those that
    finished.
    """
    head = thread.head
    assert head is not None
    outcomes = thread.task_outcomes(head)
    task, failure = next((task, failure) for task, _, failure in outcomes if failure is not None)
    failed = [other.node for other, _, its_failure in outcomes if its_failure is not None and other.id != task.id]
    failed_text = f" Also failed: {names_in(failed)}." if failed else ""
    finished = [other.node for other, result, _ in outcomes if result is not None]
    finished_text = f" Finished, and not run again: {names_in(finished)}." if finished else ""
    recorded_error = failure.error or {}
    error_class = MissingNodeError if recorded_error.get("type") == MissingNodeError.__name__ else NodeError
    parts = {
        **recorded_error.get("parts", {}),
        **failure.model_dump(mode="json", exclude={"error", "error_repr"}),
        "graph": thread.spec.name,
        "node": task.node,
        "step": head.step + 1,
        "thread_id": thread.thread_id,
        "checkpoint_id": head.id,
    }
    return error_class(
        f"Node {task.node!r} of graph {thread.spec.name!r} failed in step {head.step + 1} of thread "
        f"{thread.thread_id!r}: {failure.summary.rstrip('.')}.{failed_text}{finished_text}",
        **parts,
    )


def _without_calling_frames(error: BaseException) -> TracebackType | None:
    """Return an exception's traceback from the user's code on; all of it if it never reached the user's code."""
    frame = error.__traceback__
    while frame is not None and str(frame.tb_frame.f_globals.get("__name__")).partition(".")[0] in _CALLING_PACKAGES:
        frame = frame.tb_next
    return frame or error.__traceback__


def _message_of(error: BaseException) -> str:
    try:
        return sendable(str(error))
    except Exception as str_error:  # the exception's own __str__ fails
        return f"(its message is unknown: str() raised {type(str_error).__name__})"


def _repr_of(error: BaseException) -> str | None:
    try:
        return sendable(repr(error))
    except Exception:  # the exception's own __repr__ fails
        return None
