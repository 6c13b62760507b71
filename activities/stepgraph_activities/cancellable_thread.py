"""Runs functions that are not async on threads, and stops them when their activity is cancelled.

Python cannot end a thread from outside. It can have an exception raised in one, at the thread's next line of Python.
"""

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
    """Call a function on a thread of the executor, in the caller's context, and return its result.

    If the caller is cancelled, `asyncio.CancelledError` is raised in the function at its next line of Python. If
    Temporal cancelled the activity, the caller then waits until the function has ended: the workflow must not start
    anything else while it still runs. If the worker is shutting down, the caller does not wait.
    """
    call = _Call(function)
    job = executor.submit(call.run)
    completion = asyncio.wrap_future(job)
    try:
        return await asyncio.shield(completion)
    except asyncio.CancelledError:
        if completion.done():
            raise
        # asyncio logs an exception that nobody has retrieved
        completion.add_done_callback(lambda done: done.cancelled() or done.exception())
        if job.cancel():  # the function has not started
            raise
        call.stop()
        if activity.is_cancelled() and not activity.is_worker_shutdown():
            await asyncio.wait([completion])
            if not completion.cancelled() and completion.exception() is None:
                return completion.result()  # the function finished before the exception reached it
        raise


class _Call:
    """One call of a function on a thread, which another thread can stop."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self._context = contextvars.copy_context()
        self._lock = threading.Lock()
        self._thread: int | None = None
        """The thread that runs the function; `None` before and after."""
        self._stopped = False

    def run(self) -> Any:
        """Call the function on the current thread."""
        current_thread = threading.get_ident()
        with self._lock:
            if self._stopped:
                raise asyncio.CancelledError
            self._thread = current_thread
        try:
            return self._context.run(self._function)
        finally:
            with self._lock:
                self._thread = None
                if self._stopped:
                    _withdraw_from_current_thread()

    def stop(self) -> None:
        """Raise `asyncio.CancelledError` in the function. A blocking call outside Python delays it until it returns."""
        with self._lock:
            self._stopped = True
            if self._thread is not None:
                _raise_in(self._thread, asyncio.CancelledError)


class _WithdrawnError(BaseException):
    """Takes the place of an error that is not to be raised any more."""


def _withdraw_from_current_thread() -> None:
    """Take back an error that is still to be raised in this thread, so that it does not hit the next function there.

    The error is replaced by another one, which is raised and caught here. To set none would leave Python's flag for
    errors from outside set: Python 3.11 then checks for them at each call for ever, and hangs where a debugger or a
    coverage tool traces it.
    """
    try:
        _raise_in(threading.get_ident(), _WithdrawnError)
        while True:  # it is raised at the next instruction that checks
            pass
    except _WithdrawnError:
        pass


def _raise_in(thread: int, error: type[BaseException]) -> None:
    """Schedule an error to be raised in a thread."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error))
