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
from contextlib import asynccontextmanager, nullcontext, suppress
from datetime import timedelta
from typing import Any, TypeVar

from pydantic import ValidationError
from temporalio import activity
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.workflowservice.v1 import RecordActivityTaskHeartbeatRequest
from temporalio.common import RawValue

from stepgraph.errors import UnknownFormatError
from stepgraph.protocol.message import Message
from stepgraph.serde.error_text import first_line
from stepgraph.temporal import sdk_internals
from stepgraph.temporal.logs import get_logger
from stepgraph.temporal.payloads import to_raw
from stepgraph_activities.sidecar_client import watched

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
        self.info = activity.info()
        self._client = activity.client()
        self._progress = progress
        self._reported: Any = next(iter(self.info.heartbeat_details), None)
        """The progress of an earlier attempt, which this one repeats until it has some of its own."""
        self._node_details: Sequence[Any] = self.info.heartbeat_details[1:]
        self._send_by_sdk = sdk_internals.redirect_heartbeats(self._take_from_node, self._node_details)
        self._converter = sdk_internals.activity_data_converter(self._client, self.info)
        self._tell_sidecar: Callable[[Sequence[Payload]], None] = lambda details: None
        self._node_has_sent = False

    async def acknowledge(self) -> None:
        """Send a heartbeat with the progress so far, and wait until the server has stored it.

        If that fails, a warning is logged: the next heartbeat repeats the progress.
        """
        try:
            payloads = await self._send(self._current_progress())
            request = RecordActivityTaskHeartbeatRequest(
                namespace=self._client.namespace,
                task_token=self.info.task_token,
                details=Payloads(payloads=payloads),
                identity=self._client.identity,
            )
            service = self._client.workflow_service
            await service.record_activity_task_heartbeat(request, retry=True, timeout=ACKNOWLEDGE_TIMEOUT)
        except Exception as error:  # the server's, or a payload codec's
            log.warning("progress not acknowledged", thread=self.info.workflow_id, error=first_line(error))

    @asynccontextmanager
    async def sent_regularly(self, timeout: timedelta) -> AsyncIterator[None]:
        """Send heartbeats until the ``async with`` block ends; the sidecar watches over the attempt meanwhile."""
        details = await self._encoded(self._details(self._current_progress()))
        with watched(self._client, self.info, timeout, details) as self._tell_sidecar:
            sender = asyncio.create_task(self._send_regularly(timeout))
            try:
                yield
            finally:
                sender.cancel()

    async def _send_regularly(self, timeout: timedelta) -> None:
        """Send heartbeats often enough, and within `PROGRESS_INTERVAL` of each change of what they say."""
        interval = min(timeout.total_seconds() / BEATS_PER_TIMEOUT, MAX_INTERVAL)
        pause, since_sent, last_sent = min(interval, PROGRESS_INTERVAL), 0.0, self._reported
        while True:
            await asyncio.sleep(pause)
            since_sent += pause
            progress = self._current_progress()
            if since_sent >= interval or progress != last_sent or self._node_has_sent:
                since_sent, last_sent, self._node_has_sent = 0.0, progress, False
                with suppress(Exception):  # of a payload codec: the SDK, which uses it too, reports it
                    await self._send(progress)

    def _current_progress(self) -> Any:
        progress = self._progress()
        return self._reported if progress is None else progress

    async def _send(self, progress: Any) -> list[Payload]:
        """Tell the SDK and the sidecar the same details; return them."""
        details = self._details(progress)
        self._send_by_sdk(*details)
        payloads = await self._encoded(details)
        self._tell_sidecar(payloads)
        return payloads

    def _take_from_node(self, *details: Any) -> None:
        """Take the details that a node passes to `temporalio.activity.heartbeat`, on any thread.

        They are sent with the progress, within `PROGRESS_INTERVAL`. Raises what the payload converter does if it
        cannot convert them.
        """
        payloads = self._client.data_converter.payload_converter.to_payloads(details)
        self._node_details = [RawValue(payload) for payload in payloads]
        self._node_has_sent = True

    def _details(self, progress: Any) -> list[Any]:
        return [] if progress is None and not self._node_details else [to_raw(progress), *self._node_details]

    async def _encoded(self, details: Sequence[Any]) -> list[Payload]:
        return list(await self._converter.encode(details)) if details else []


@asynccontextmanager
async def heartbeats(progress: Progress = lambda: None) -> AsyncIterator[Heartbeats]:
    """Send heartbeats until the ``async with`` block ends.

    Args:
        progress: what the activity's next attempt needs to know. It is sent within `PROGRESS_INTERVAL` of each change,
            and with every heartbeat.
    """
    beats = Heartbeats(progress)
    timeout = beats.info.heartbeat_timeout
    async with beats.sent_regularly(timeout) if timeout is not None else nullcontext():
        yield beats


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
