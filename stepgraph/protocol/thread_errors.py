"""Errors about threads that the client on Temporal and the runner in memory both raise."""

from __future__ import annotations

from stepgraph.engine.thread import Thread
from stepgraph.errors import CheckpointNotFoundError, EmptyInputError, ThreadBusyError, ThreadError
from stepgraph.protocol.config import RunConfig


def busy(thread: Thread) -> ThreadBusyError:
    """The thread is at work, and takes no second invoke."""
    return ThreadBusyError(
        f"Thread {thread.thread_id!r} is running (run {thread.run_id}), and a thread has one writer. "
        "Wait for it to end, or use another thread id.",
        thread_id=thread.thread_id,
        run_id=thread.run_id,
    )


def nothing_there(wanted: RunConfig, what: str) -> EmptyInputError:
    """The thread does not exist; ``what`` says what follows."""
    return EmptyInputError(f"Thread {wanted.thread_id!r} does not exist, {what}", thread_id=wanted.thread_id)


def nothing_to_fork(thread_id: str) -> EmptyInputError:
    """The thread has no checkpoint."""
    return EmptyInputError(f"Thread {thread_id!r} has no checkpoint to fork.", thread_id=thread_id)


def already_there(thread_id: str) -> ThreadError:
    """The thread that a fork was to grow on."""
    return ThreadError(
        f"There is a thread {thread_id!r} already; a fork grows on a new one. Choose another thread_id.",
        thread_id=thread_id,
    )


def not_found(thread_id: str, checkpoint_id: str) -> CheckpointNotFoundError:
    """The thread has no such checkpoint."""
    return CheckpointNotFoundError(
        f"Thread {thread_id!r} has no checkpoint {checkpoint_id!r}. Take an id from its history.",
        thread_id=thread_id,
        checkpoint_id=checkpoint_id,
    )
