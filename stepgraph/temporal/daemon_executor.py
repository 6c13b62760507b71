"""Runs blocking functions on daemon threads, which a process does not wait for when it ends."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

T = TypeVar("T")
_Job = tuple[Future[Any], Callable[..., Any], tuple[Any, ...], dict[str, Any]]

IDLE_SECONDS = 60.0
"""How long an idle thread waits for the next function before it ends."""


class DaemonExecutor(Executor):
    """Runs functions on daemon threads. Threads are started as needed and reused; no shutdown is needed.

    The standard library's `ThreadPoolExecutor` does not fit. It keeps the process alive until the last function has
    returned, so Ctrl-C would wait for a node that sleeps for an hour. It also refuses work once the main thread has
    ended, though other threads may still wait for a graph.

    Args:
        max_threads: the largest number of threads; further functions wait in a queue.
        name: the prefix of the threads' names.
    """

    def __init__(self, max_threads: int, *, name: str) -> None:
        self._max_threads = max_threads
        self._name = name
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._thread_count = 0
        self._idle_count = 0

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Queue a function to be called on a thread."""
        future: Future[T] = Future()
        with self._changed:
            self._jobs.append((future, fn, args, kwargs))
            if self._idle_count >= len(self._jobs):
                self._changed.notify()
            elif self._thread_count < self._max_threads:
                self._thread_count += 1
                threading.Thread(target=self._work, name=f"{self._name}-{self._thread_count}", daemon=True).start()
        return future

    def _work(self) -> None:
        while (job := self._next()) is not None:
            future, function, args, kwargs = job
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function(*args, **kwargs))
                except BaseException as error:
                    future.set_exception(error)
            del job, future, function, args, kwargs  # an idle thread must not keep them in memory

    def _next(self) -> _Job | None:
        """Wait for the next job. Return `None` after `IDLE_SECONDS` without one: the thread ends then."""
        with self._changed:
            self._idle_count += 1
            self._changed.wait_for(lambda: self._jobs, IDLE_SECONDS)
            self._idle_count -= 1
            if self._jobs:
                return self._jobs.popleft()
            self._thread_count -= 1
            return None


async def off_loop(function: Callable[..., T], *args: Any) -> T:
    """Call a blocking function off the event loop, on a daemon thread, and return its result."""
    return await asyncio.get_running_loop().run_in_executor(_blocking_executor, function, *args)


def _create_blocking_executor() -> None:
    global _blocking_executor
    _blocking_executor = DaemonExecutor(8, name="stepgraph-blocking")


_blocking_executor: DaemonExecutor
_create_blocking_executor()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_create_blocking_executor)  # a forked child does not have its parent's threads
