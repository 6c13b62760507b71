"""`DaemonExecutor`: threads that never hold up the end of a process."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

T = TypeVar("T")
Job = tuple[Future[Any], Callable[..., Any], tuple[Any, ...], dict[str, Any]]

IDLE_SECONDS = 60.0
"""How long a thread is kept for the next function."""


class DaemonExecutor(Executor):
    """Runs functions on daemon threads, made as they are needed and kept for a while. Needs no shutdown.

    The standard library's executor would not do: it holds the process until the last function has returned, so Ctrl-C
    would wait for a node that sleeps for an hour; and it takes no more work once the main thread has ended, though
    other threads may still be waiting for a graph.
    """

    def __init__(self, max_threads: int, *, name: str) -> None:
        self._max_threads = max_threads
        self._name = name
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._threads = 0
        self._idle = 0

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Has a function called on a thread."""
        future: Future[T] = Future()
        with self._changed:
            self._jobs.append((future, fn, args, kwargs))
            if self._idle >= len(self._jobs):
                self._changed.notify()
            elif self._threads < self._max_threads:
                self._threads += 1
                threading.Thread(target=self._work, name=f"{self._name}-{self._threads}", daemon=True).start()
        return future

    def _work(self) -> None:
        while (job := self._next()) is not None:
            future, function, args, kwargs = job
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function(*args, **kwargs))
                except BaseException as error:
                    future.set_exception(error)
            del job, future, function, args, kwargs  # an idle thread keeps nothing alive

    def _next(self) -> Job | None:
        """The next thing to do; `None` when there was nothing for long, and the thread may end."""
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: self._jobs, IDLE_SECONDS)
            self._idle -= 1
            if self._jobs:
                return self._jobs.popleft()
            self._threads -= 1
            return None


async def off_loop(function: Callable[..., T], *args: Any) -> T:
    """Calls a function that blocks, on a thread that the process does not wait for when it ends."""
    return await asyncio.get_running_loop().run_in_executor(_blocking, function, *args)


def _new_blocking() -> None:
    global _blocking
    _blocking = DaemonExecutor(8, name="stepgraph-blocking")


_blocking: DaemonExecutor
_new_blocking()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_blocking)  # a forked child has none of its parent's threads
