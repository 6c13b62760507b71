"""The status of a thread, as its page in the Web UI and the search attribute `StepgraphStatus` have it."""

from __future__ import annotations

from typing import Literal

from stepgraph.engine.thread_view import ThreadView

ThreadStatus = Literal["running", "waiting", "failed", "complete", "refused"]
"""``waiting``: nothing runs until somebody sends a command. ``refused``: the latest run has refused what it was started
for, and nothing was done."""


def current_status(
    thread: ThreadView | None, *, running: bool, has_error: bool = False, has_begun: bool = True
) -> ThreadStatus:
    """Return the status of a thread with an open run, or with one that ends now.

    Args:
        thread: the thread; `None` if its run has not restored it.
        running: whether the thread goes on by itself.
        has_error: whether its run ends with an error.
        has_begun: whether that run has taken what it was started for.
    """
    if has_error:
        return "failed" if has_begun else "refused"
    if thread is None or thread.head is None:
        return "running" if running else "refused"
    if thread.waiting_interrupts or thread.paused:
        return "running" if running else "waiting"
    if thread.failures:
        return "failed"
    if thread.finished:
        return "complete"
    return "running" if running else "waiting"
