"""Errors about threads that clients, the workflow and the in-memory runner raise alike."""

from __future__ import annotations

from stepgraph.errors import (
    CheckpointNotFoundError,
    EmptyInputError,
    InvalidUpdateError,
    NodeError,
    StepgraphError,
    ThreadBusyError,
    ThreadError,
)
from stepgraph.serde.error_text import first_line, type_name


def thread_busy(thread_id: str, run_id: str | None) -> ThreadBusyError:
    """Return the error for a second invoke of a running thread."""
    which = f" (run {run_id})" if run_id else ""
    return ThreadBusyError(
        f"Thread {thread_id!r} is running{which}, and a thread has one writer. invoke(None, config) waits for what the "
        'run returns; on_busy="enqueue" has the input begin after it, and on_busy="cancel" instead of it. Or use '
        "another thread id.",
        thread_id=thread_id,
        run_id=run_id,
    )


def not_waiting(thread_id: str, run_id: str) -> InvalidUpdateError:
    """Return the error for an answer to a running thread at which no interrupt waits."""
    return InvalidUpdateError(
        f"Thread {thread_id!r} is running (run {run_id}), and does not wait for an answer. invoke(None, config) waits "
        "for what the run returns; an answer is taken once an interrupt waits.",
        thread_id=thread_id,
        run_id=run_id,
    )


NOTHING_TO_REPLAY = "so there is nothing to run again."
NOTHING_TO_RESUME = "so there is nothing to resume. Start it with an input."
NOTHING_WAITS = "so nothing waits for an answer."
"""How `no_such_thread` ends its sentence: what the caller wanted, and cannot have."""


def no_such_thread(thread_id: str, consequence: str) -> EmptyInputError:
    """Return the error for a thread that does not exist; ``consequence`` is one of the constants above."""
    return EmptyInputError(f"Thread {thread_id!r} does not exist, {consequence}", thread_id=thread_id)


def nothing_to_resume(thread_id: str, reason: str | None = None) -> EmptyInputError:
    """Return the error for resuming a thread that has no checkpoint. ``reason`` says why, if that is known."""
    why = f" {reason}" if reason is not None else ""
    return EmptyInputError(
        f"Thread {thread_id!r} has nothing to resume.{why} Start it with an input.", thread_id=thread_id
    )


def nothing_to_fork(thread_id: str) -> EmptyInputError:
    """Return the error for forking a thread that has no checkpoint."""
    return EmptyInputError(f"Thread {thread_id!r} has no checkpoint to fork.", thread_id=thread_id)


def thread_exists(thread_id: str) -> ThreadError:
    """Return the error for a fork onto a thread that exists already."""
    return ThreadError(
        f"There is a thread {thread_id!r} already; a fork grows on a new one. Choose another thread_id.",
        thread_id=thread_id,
    )


def no_such_checkpoint(thread_id: str, checkpoint_id: str) -> CheckpointNotFoundError:
    """Return the error for a checkpoint that the thread does not have."""
    return CheckpointNotFoundError(
        f"Thread {thread_id!r} has no checkpoint {checkpoint_id!r}. Take an id from its history.",
        thread_id=thread_id,
        checkpoint_id=checkpoint_id,
    )


def fault_of(fault: Exception) -> StepgraphError:
    """Return the error for an exception that stepgraph should not have raised."""
    return StepgraphError(f"A fault in stepgraph: {type_name(fault)}: {first_line(fault)}. Please report it.")


def failure_reason(error: StepgraphError, *, was_refused: bool = False) -> str | None:
    """Return what a snapshot says of the error that ended the thread's latest run; `None` if its tasks tell.

    ``was_refused``: whether the run refused what it was started for.
    """
    if isinstance(error, NodeError):
        return None
    return f"The latest run {'was refused' if was_refused else 'failed'}: {error.message}"
