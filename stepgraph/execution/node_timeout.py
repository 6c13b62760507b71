"""`TimeoutPolicy`: how long one attempt at a node may take, and how long it may be silent.

Owns the policy and the clock of an attempt, by LangGraph's rules: what runs out is a failure of the node, which its
retry policy may retry. A node calls ``runtime.heartbeat()`` or its stream writer to show progress. A node's plain
``timeout`` is another thing: it bounds an attempt whatever happens to its worker, and another attempt begins.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from stepgraph.errors import NodeTimeoutError
from stepgraph.execution.retry import MAX_SECONDS, MIN_SECONDS


@dataclass(frozen=True, kw_only=True)
class TimeoutPolicy:
    """How long one attempt at a node may take. What exceeds it raises a `NodeTimeoutError` in place of the node."""

    run_timeout: float | timedelta | None = None
    """Seconds, or a `timedelta`, that the attempt may take."""
    idle_timeout: float | timedelta | None = None
    """Seconds, or a `timedelta`, that may pass between two signs of progress."""
    refresh_on: Literal["auto", "heartbeat"] = "auto"
    """What is a sign of progress: ``runtime.heartbeat()`` alone, or what is written to the stream, too."""

    def checked(self) -> TimeoutPolicy:
        """Return the policy with its times in seconds; raise `ValueError` if one is no positive time."""
        if self.refresh_on not in ("auto", "heartbeat"):
            raise ValueError(f"refresh_on must be 'auto' or 'heartbeat', got {self.refresh_on!r}")
        return TimeoutPolicy(
            run_timeout=_seconds("run_timeout", self.run_timeout),
            idle_timeout=_seconds("idle_timeout", self.idle_timeout),
            refresh_on=self.refresh_on,
        )


class AttemptTimer:
    """Bounds the time of a ``with`` block by a checked policy; without one, by nothing.

    Args:
        policy: the node's policy.
        node: the node, for the error.
    """

    def __init__(self, policy: TimeoutPolicy | None, node: str) -> None:
        self._node = node
        self._run: Any = policy.run_timeout if policy is not None else None
        self._idle: Any = policy.idle_timeout if policy is not None else None
        self._watches_stream = policy is None or policy.refresh_on == "auto"
        self._timeout = asyncio.timeout(None)
        self._loop = asyncio.get_running_loop()
        self._started = self._progressed = self._loop.time()
        self._running = False

    async def __aenter__(self) -> AttemptTimer:
        await self._timeout.__aenter__()
        self._running = True
        self._reschedule()
        return self

    async def __aexit__(self, *error: Any) -> None:
        self._running = False
        try:
            await self._timeout.__aexit__(*error)
        except TimeoutError as expired:
            raise self._error() from expired

    def heartbeat(self) -> None:
        """Note progress. May be called on any thread."""
        self._progressed = self._loop.time()
        if self._idle is not None and self._running:
            self._loop.call_soon_threadsafe(self._reschedule)

    def written(self) -> None:
        """Note that the node has written to its stream."""
        if self._watches_stream:
            self.heartbeat()

    def _reschedule(self) -> None:
        until = min(self._run_end(), self._idle_end())
        if self._running and not self._timeout.expired() and until < math.inf:
            self._timeout.reschedule(until)

    def _run_end(self) -> float:
        return math.inf if self._run is None else self._started + self._run

    def _idle_end(self) -> float:
        return math.inf if self._idle is None else self._progressed + self._idle

    def _error(self) -> NodeTimeoutError:
        idle = self._idle_end() < self._run_end()
        kind, seconds = ("idle", self._idle) if idle else ("run", self._run)
        was = "made no progress for longer" if idle else "took longer"
        mend = "call runtime.heartbeat() in it more often" if idle else "give the node a retry_policy"
        return NodeTimeoutError(
            f"An attempt at node {self._node!r} {was} than its {kind}_timeout of {seconds:g} seconds. Allow more time, "
            f"or {mend}.",
            node=self._node,
            kind=kind,
            timeout=seconds,
            run_timeout=self._run,
            idle_timeout=self._idle,
            elapsed=self._loop.time() - (self._progressed if idle else self._started),
        )


def _seconds(field: str, value: Any) -> float | None:
    if value is None:
        return None
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not is_number or not MIN_SECONDS <= seconds <= MAX_SECONDS:
        raise ValueError(
            f"{field} must be a positive number of seconds or a timedelta, from a millisecond to ten years; "
            f"got {value!r}"
        )
    return float(seconds)
