"""Signs of life of an activity, sent for whatever code it runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from temporalio import activity

from stepgraph.temporal.payloads import to_raw

BEATS_PER_TIMEOUT = 3
LONGEST_PAUSE = 3.0
"""Seconds between signs of life at the most: it is by the answer to one that a node learns that it is to stop."""

PROGRESS_EVERY = 1.0
"""Seconds after which progress is told of, if there is any."""


@asynccontextmanager
async def heartbeats(timeout: timedelta | None, progress: Callable[[], Any] | None = None) -> AsyncIterator[None]:
    """Sends signs of life, as long as this worker lives.

    Args:
        timeout: the activity's heartbeat timeout.
        progress: what another attempt should go on from, if this worker is lost; sent whenever it has changed.
    """
    beating = asyncio.create_task(_beat(timeout / BEATS_PER_TIMEOUT, progress)) if timeout else None
    try:
        yield
    finally:
        if beating is not None:
            beating.cancel()


async def _beat(every: timedelta, progress: Callable[[], Any] | None) -> None:
    pause = min(every.total_seconds(), LONGEST_PAUSE)
    if progress is None:
        while True:
            await asyncio.sleep(pause)
            activity.heartbeat()
    told, silent = None, 0.0
    while True:
        await asyncio.sleep(min(pause, PROGRESS_EVERY))
        silent += min(pause, PROGRESS_EVERY)
        now = progress()
        if now != told or silent >= pause:
            activity.heartbeat(to_raw(now))
            told, silent = now, 0.0
