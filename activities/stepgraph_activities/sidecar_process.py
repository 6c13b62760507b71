"""The process that a worker process has beside it: it knows at once when the worker dies, and beats while it is stuck.

It runs as ``python -I sidecar_process.py PARENT_PID`` and reads pickled messages from its standard input:

* ``("path", [...])``: where to import from;
* ``("client", key, config)``: a server to talk to, as the SDK's `ConnectConfig`;
* ``("open", token, client_key, namespace, identity, timeout, details)``: an attempt at an activity has begun; these
  payloads are the heartbeat details that the server has of it, `None` if they are too large to be repeated;
* ``("beat", token, details)``: the worker has sent a heartbeat with these payloads;
* ``("close", token)``: the attempt is over.

**If the worker dies**, however it is killed, every attempt that is open is reported to the server as failed, so that
the next one begins without waiting for the heartbeat timeout. **If the worker is silent** for half of the timeout, its
last heartbeat is repeated, for `STAND_IN_SECONDS` at most: a node that keeps Python's interpreter lock, or blocks the
event loop, keeps the worker from sending any.

The module imports nothing of stepgraph, so that the process is small (about 35 MB, most of it the SDK) and starts fast.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

TICK_SECONDS = 0.25
"""How often the process looks whether the worker lives, and which attempts are silent."""

STAND_IN_SECONDS = 300.0
"""How long the heartbeats of a silent worker are repeated. After that it counts as hung."""

REPORT_SECONDS = 10.0
"""How long the process tries to report the attempts of a worker that has died."""

BEAT_TIMEOUT = timedelta(seconds=5)
"""How long one heartbeat may take."""


@dataclass
class Attempt:
    """One attempt at an activity that the worker has begun and not ended."""

    client_key: str
    namespace: str
    identity: str
    timeout: float
    """The heartbeat timeout, in seconds."""
    details: list[bytes] | None
    """The payloads of the last heartbeat, serialized; `None` if they cannot be repeated."""
    last_beat: float = field(default_factory=time.monotonic)
    """When the worker, or this process, sent the last heartbeat."""
    last_sign: float = field(default_factory=time.monotonic)
    """When the worker did."""


class Sidecar:
    """What the worker has told, and the connections to its servers."""

    def __init__(self, parent: int) -> None:
        self._parent = parent
        self._attempts: dict[bytes, Attempt] = {}
        self._configs: dict[str, Any] = {}
        self._services: dict[str, Any] = {}
        self._input_ended = asyncio.Event()
        self._is_confused = False
        """Whether a message could not be read, though the worker lives."""
        self._beats: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Run until the worker has ended, and its open attempts are reported."""
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._read, args=(loop,), daemon=True).start()
        while not await self._wait_for_end_of_input() and os.getppid() == self._parent:
            self._beat_for_silent_worker()
        await self._wait_for_end_of_input()  # the last messages may not have been read yet
        if self._is_confused:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(REPORT_SECONDS):
                await asyncio.gather(*(self._report_death(token) for token in self._attempts), return_exceptions=True)

    async def _wait_for_end_of_input(self) -> bool:
        """Wait for the end of the worker's messages, for `TICK_SECONDS` at most; return whether it has come.

        It does not come with the worker's death while a process that the worker has forked lives.
        """
        with suppress(TimeoutError):
            await asyncio.wait_for(self._input_ended.wait(), TICK_SECONDS)
        return self._input_ended.is_set()

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        """Read messages until the worker has closed its end."""
        try:
            while True:
                kind, *parts = pickle.load(sys.stdin.buffer)
                if kind == "path":  # at once: the next message may need it
                    sys.path[:] = parts[0]
                else:
                    loop.call_soon_threadsafe(self._take, kind, *parts)
        except EOFError:
            pass
        except Exception:  # the worker's last message was cut off, if it has died
            time.sleep(TICK_SECONDS)
            self._is_confused = os.getppid() == self._parent
        loop.call_soon_threadsafe(self._input_ended.set)

    def _take(self, kind: str, *parts: Any) -> None:
        """Take one message."""
        if kind == "client":
            self._configs[parts[0]] = parts[1]
        elif kind == "open":
            token, *fields = parts
            self._attempts[token] = Attempt(*fields)
        elif kind == "close":
            self._attempts.pop(parts[0], None)
        elif kind == "beat" and (attempt := self._attempts.get(parts[0])) is not None:
            attempt.details = parts[1]
            attempt.last_beat = attempt.last_sign = time.monotonic()

    def _beat_for_silent_worker(self) -> None:
        now = time.monotonic()
        for token, attempt in list(self._attempts.items()):
            is_silent = now - attempt.last_beat > attempt.timeout / 2
            if is_silent and attempt.details is not None and now - attempt.last_sign < STAND_IN_SECONDS:
                attempt.last_beat = now
                beat = asyncio.ensure_future(self._beat(token, attempt))
                self._beats.add(beat)
                beat.add_done_callback(self._forget_beat)

    def _forget_beat(self, beat: asyncio.Task[None]) -> None:
        self._beats.discard(beat)
        beat.exception()  # the server does not answer, or the attempt is over

    async def _beat(self, token: bytes, attempt: Attempt) -> None:
        from temporalio.api.common.v1 import Payload, Payloads
        from temporalio.api.workflowservice.v1 import RecordActivityTaskHeartbeatRequest

        request = RecordActivityTaskHeartbeatRequest(
            namespace=attempt.namespace, task_token=token, identity=attempt.identity
        )
        if attempt.details:
            request.details.CopyFrom(Payloads(payloads=[Payload.FromString(each) for each in attempt.details]))
        await (await self._service(attempt)).record_activity_task_heartbeat(request, timeout=BEAT_TIMEOUT)

    async def _report_death(self, token: bytes) -> None:
        from temporalio.api.failure.v1 import ApplicationFailureInfo, Failure
        from temporalio.api.workflowservice.v1 import RespondActivityTaskFailedRequest

        attempt = self._attempts[token]
        failure = Failure(
            message="The worker process of this attempt died.",
            application_failure_info=ApplicationFailureInfo(type="WorkerDied"),
        )
        request = RespondActivityTaskFailedRequest(
            namespace=attempt.namespace, task_token=token, identity=attempt.identity, failure=failure
        )
        await (await self._service(attempt)).respond_activity_task_failed(request, retry=True)

    async def _service(self, attempt: Attempt) -> Any:
        """Return the connection to an attempt's server. It is made when it is first needed."""
        from temporalio.service import ServiceClient

        if attempt.client_key not in self._services:
            connected = await ServiceClient.connect(self._configs[attempt.client_key])
            self._services[attempt.client_key] = connected.workflow_service
        return self._services[attempt.client_key]


if __name__ == "__main__":
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)  # it ends with the worker
    asyncio.run(Sidecar(int(sys.argv[1])).run())
