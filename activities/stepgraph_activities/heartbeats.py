"""The heartbeats of one attempt at an activity: signs of life, and what the next attempt needs to know.

A heartbeat's details are in Temporal's database when the server has acknowledged it, and the activity's next attempt
finds them, also after the worker or the server was killed. The first detail is stepgraph's progress, as JSON data. The
others are what a node passes to `temporalio.activity.heartbeat`.

There are two ways to send one. The SDK's returns at once, and holds heartbeats back (`GraphPlugin` limits this to a
second). The service's own call is awaited, so that it is known to be acknowledged. The SDK always gets the same details
as well: it would replace them by older ones otherwise, and it cancels an activity of which it hears nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, TypeVar

from pydantic import ValidationError
from temporalio import activity
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.workflowservice.v1 import RecordActivityTaskHeartbeatRequest
from temporalio.service import RPCError

from stepgraph.errors import UnknownFormatError
from stepgraph.protocol.message import Message
from stepgraph.serde.error_text import first_line
from stepgraph.temporal import sdk_internals
from stepgraph.temporal.logs import get_logger
from stepgraph.temporal.payloads import to_raw
from stepgraph_activities.heartbeat_sidecar import StandIn, standing_in

BEATS_PER_TIMEOUT = 3
MAX_INTERVAL = 2.0
"""The longest time between heartbeats, in seconds. The answer to a heartbeat says whether the activity is cancelled."""

PROGRESS_INTERVAL = 1.0
"""Seconds between checks for progress that is to be sent."""

ACKNOWLEDGE_TIMEOUT = timedelta(seconds=10)
"""How long to wait for the server's acknowledgement."""

Progress = Callable[[], Any]
"""Returns JSON data from which another attempt goes on if this worker is lost; `None` if there is nothing to know."""

M = TypeVar("M", bound=Message)

log = get_logger("heartbeats")


class Heartbeats:
    """Sends the heartbeats of the current activity. Made by `heartbeats`, inside an activity.

    Args:
        progress: what the next attempt needs to know.
    """

    def __init__(self, progress: Progress) -> None:
        self._info = activity.info()
        self._client = activity.client()
        self._progress = progress
        self._node_details: Sequence[Any] = self._info.heartbeat_details[1:]
        self._send_by_sdk = sdk_internals.redirect_heartbeats(self._send_for_node, self._node_details)
        self._converter = sdk_internals.activity_data_converter(self._client, self._info)
        self._last_progress: Any = None
        self._loop = asyncio.get_running_loop()

    async def acknowledge(self) -> None:
        """Send a heartbeat with the progress so far, and wait until the server has stored it.

        If the server does not answer, a warning is logged: the next heartbeat repeats the progress.
        """
        self._send()
        request = RecordActivityTaskHeartbeatRequest(
            namespace=self._client.namespace,
            task_token=self._info.task_token,
            details=Payloads(payloads=await self._payloads()),
            identity=self._client.identity,
        )
        try:
            service = self._client.workflow_service
            await service.record_activity_task_heartbeat(request, retry=True, timeout=ACKNOWLEDGE_TIMEOUT)
        except RPCError as error:
            log.warning("progress not acknowledged", thread=self._info.workflow_id, error=first_line(error))

    async def send_regularly(self, stand_in: StandIn, timeout: timedelta) -> None:
        """Send heartbeats often enough, and within `PROGRESS_INTERVAL` of each change of the progress."""
        interval = min(timeout.total_seconds() / BEATS_PER_TIMEOUT, MAX_INTERVAL)
        pause, since_sent = min(interval, PROGRESS_INTERVAL), 0.0
        while True:
            await asyncio.sleep(pause)
            since_sent += pause
            if since_sent >= interval or self._progress() != self._last_progress:
                self._send()
                stand_in.beat(await self._payloads())
                since_sent = 0.0

    def _send(self) -> None:
        """Send a heartbeat with the progress so far, without waiting for an acknowledgement."""
        self._last_progress = self._progress()
        self._send_by_sdk(*self._details())

    def _send_for_node(self, *details: Any) -> None:
        """Do what `temporalio.activity.heartbeat` does, on any thread, and keep the progress."""
        self._node_details = details
        self._loop.call_soon_threadsafe(self._send)

    def _details(self) -> list[Any]:
        progress = self._progress()
        if progress is None and not self._node_details:
            return []
        return [to_raw(progress), *self._node_details]

    async def _payloads(self) -> list[Payload]:
        details = self._details()
        return list(await self._converter.encode(details)) if details else []


@asynccontextmanager
async def heartbeats(progress: Progress = lambda: None) -> AsyncIterator[Heartbeats]:
    """Send heartbeats until the ``async with`` block ends.

    Args:
        progress: what the activity's next attempt needs to know. It is sent within `PROGRESS_INTERVAL` of each change,
            and with every heartbeat.
    """
    beats, timeout = Heartbeats(progress), activity.info().heartbeat_timeout
    if timeout is None:
        yield beats
        return
    with standing_in(activity.client(), activity.info(), timeout) as stand_in:
        sender = asyncio.create_task(beats.send_regularly(stand_in, timeout))
        try:
            yield beats
        finally:
            sender.cancel()


def reported_progress(model: type[M], info: activity.Info) -> M | None:
    """Return the progress that an earlier attempt reported; `None` if there is none, or none that can be read.

    Args:
        model: the type of the progress.
        info: the activity's info, as it was before `heartbeats`.
    """
    if not info.heartbeat_details or info.heartbeat_details[0] is None:
        return None
    try:
        return model.model_validate(info.heartbeat_details[0])
    except (ValidationError, UnknownFormatError):  # reported by a worker with another version of stepgraph
        return None
