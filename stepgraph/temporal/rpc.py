"""Repeats a request to the server that failed because its connection was replaced.

A Temporal frontend closes each client connection after five minutes (``frontend.keepAliveMaxConnectionAge``). A request
that is sent at that moment fails with ``CANCELLED``, "operation was canceled", though nothing is wrong with it.

The SDK's own answer is ``retry=True``, which its handles pass and raw service calls do not. It also keeps trying for
up to ten seconds when no server answers, which is too long for a check that a caller waits for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from temporalio.service import RPCError, RPCStatusCode

T = TypeVar("T")

ATTEMPTS = 4

PAUSE_SECONDS = 0.1
"""How long to wait before the next attempt. The client opens a new connection meanwhile."""

GIVE_UP_SECONDS = 1.0
"""A call that fails later than this, counted from the first attempt, is not repeated. A lost connection fails within
milliseconds; a call that takes longer has met its own timeout, or the SDK has already repeated it."""

_TRANSIENT = (RPCStatusCode.CANCELLED, RPCStatusCode.UNAVAILABLE)


def is_cancelled() -> bool:
    """Return whether the current task is being cancelled, which an RPC may report as an error of its own."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def retried(call: Callable[[], Awaitable[T]]) -> T:
    """Await an RPC, and repeat it if its connection was lost.

    Args:
        call: makes the RPC anew each time; the RPC must be idempotent.

    Raises:
        RPCError: the last attempt's error, or the first one that says nothing about the connection. While the current
            task is being cancelled nothing is repeated, because the RPC may report just that as ``CANCELLED``.

    Examples:
        >>> await retried(lambda: client.workflow_service.describe_namespace(request))  # doctest: +SKIP
    """
    give_up_at = time.monotonic() + GIVE_UP_SECONDS
    for _ in range(ATTEMPTS - 1):
        try:
            return await call()
        except RPCError as error:
            if error.status not in _TRANSIENT or is_cancelled() or time.monotonic() >= give_up_at:
                raise
        await asyncio.sleep(PAUSE_SECONDS)
    return await call()
