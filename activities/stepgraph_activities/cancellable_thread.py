"""Functions that are not async, off the event loop, and how one of them is told to stop."""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

from temporalio import activity


async def run_on_thread(executor: Executor, function: Callable[[], Any]) -> Any:
    """Calls it on a thread of the executor, in the context of the caller.

    When the caller is cancelled, an `asyncio.CancelledError` is raised in the function, at its next line of Python. If
    that is Temporal's wish the caller waits until the function has really ended, so that nothing is begun beside it.
    """
    call = _Call(function)
    job = executor.submit(call.run)
    ended = asyncio.wrap_future(job)
    try:
        return await asyncio.shield(ended)
    except asyncio.CancelledError:
        if ended.done():
            raise
        ended.add_done_callback(lambda done: done.cancelled() or done.exception())  # or asyncio complains
        if job.cancel():  # before it was begun
            raise
        call.stop()
        if activity.is_cancelled() and not activity.is_worker_shutdown():
            await asyncio.wait([ended])
            if not ended.cancelled() and ended.exception() is None:
                return ended.result()  # it finished after all
        raise


class _Call:
    """One call of a function on some thread."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self._context = contextvars.copy_context()
        self._lock = threading.Lock()
        self._thread: int | None = None
        self._stopped = False

    def run(self) -> Any:
        """Calls it, on the thread that this is run on."""
        here = threading.get_ident()
        with self._lock:
            if self._stopped:
                raise asyncio.CancelledError
            self._thread = here
        try:
            return self._context.run(self._function)
        finally:
            with self._lock:
                self._thread = None
                _raise_in(here, None)  # what the function has not heard must not hit what the thread does next

    def stop(self) -> None:
        """Raises in the function; one that is waiting outside of Python hears it when that returns."""
        with self._lock:
            self._stopped = True
            if self._thread is not None:
                _raise_in(self._thread, asyncio.CancelledError)


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    """Has an error raised in a thread; `None` takes back one that it has not met yet."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), None if error is None else ctypes.py_object(error)
    )
