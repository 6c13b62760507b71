"""Tells a cancellation of the code that runs a node from a `CancelledError` that the node itself raises."""

from __future__ import annotations

import asyncio


def is_cancellation(error: BaseException) -> bool:
    """Return whether an error ends the current asyncio task because the task was cancelled.

    A `CancelledError` without a request to cancel the task is the node's own: it awaited something that was cancelled,
    or raised the error by hand. It is a failure like any other exception.
    """
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0
