"""Tells the cancellation of the code that runs a node, and the end of its process, from the errors of the node."""

from __future__ import annotations

import asyncio
import threading
from typing import Final

_NO_MORE_THREADS: Final = "cannot schedule new futures after"
"""How the message of an executor begins that takes no more work."""


def is_cancellation(error: BaseException) -> bool:
    """Return whether an error ends the current asyncio task because the task was cancelled.

    A `CancelledError` without a request to cancel the task is the node's own: it awaited something that was cancelled,
    or raised the error by hand. It is a failure like any other exception.
    """
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def is_end_of_process(error: BaseException) -> bool:
    """Return whether an error only says that this process ends: a node needed a thread, and none is to be had any more.

    The node has not failed. Another process is to make the attempt again.
    """
    if threading.main_thread().is_alive():
        return False
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, RuntimeError) and str(cause).startswith(_NO_MORE_THREADS):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
