"""Sends an activity's heartbeats in the background, whatever code the activity runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from temporalio import activity

from stepgraph.temporal.payloads import to_raw

BEATS_PER_TIMEOUT = 3
MAX_INTERVAL = 3.0
"""The longest time between heartbeats, in seconds. The answer to a heartbeat says whether the activity is cancelled."""

PROGRESS_INTERVAL = 1.0
"""Seconds between checks for progress that is to be sent."""


@asynccontextmanager
async def heartbeats(timeout: timedelta | None, progress: Callable[[], Any] | None = None) -> AsyncIterator[None]:
    """Send heartbeats until the ``async with`` block ends.

    Args:
        timeout: the activity's heartbeat timeout; `None` sends nothing.
        progress: returns JSON data from which another attempt goes on if this worker is lost. It is sent within
            `PROGRESS_INTERVAL` of each change, and with every heartbeat.
    """
    sender = asyncio.create_task(_send(timeout / BEATS_PER_TIMEOUT, progress)) if timeout else None
    try:
        yield
    finally:
        if sender is not None:
            sender.cancel()


async def _send(interval: timedelta, progress: Callable[[], Any] | None) -> None:
    seconds = min(interval.total_seconds(), MAX_INTERVAL)
    if progress is None:
        while True:
            await asyncio.sleep(seconds)
            activity.heartbeat()
    last_sent, since_sent = None, 0.0
    while True:
        await asyncio.sleep(min(seconds, PROGRESS_INTERVAL))
        since_sent += min(seconds, PROGRESS_INTERVAL)
        current = progress()
        if current != last_sent or since_sent >= seconds:
            activity.heartbeat(to_raw(current))
            last_sent, since_sent = current, 0.0
