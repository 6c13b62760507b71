"""Requests at the moment when the server closes their connection, as every frontend does after some minutes."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from stepgraph.errors import CheckpointNotFoundError
from stepgraph.temporal.executions import latest_run
from stepgraph.temporal.records import run_holding
from stepgraph.temporal.rpc import ATTEMPTS, retried
from stepgraph.temporal.search_attributes import register
from stepgraph.temporal.task_queues import has_workers
from tests.conftest import dev_server

SHORT_CONNECTIONS = (
    *("--dynamic-config-value", 'frontend.keepAliveMaxConnectionAge="1s"'),
    *("--dynamic-config-value", 'frontend.keepAliveMaxConnectionAgeGrace="30s"'),
)
"""The grace is long, as by default: the server waits for requests that it has received, also on a busy machine."""

SECONDS = 10
LOOPS = 2
"""How many loops make each request at the same time. On a busy connection a request meets the end more often."""


def requests(client: Client) -> dict[str, Callable[[], Awaitable[Any]]]:
    """Functions that make a request, directly or through the SDK; each returns something true if the server answers."""
    recent_id = uuid.UUID(int=int(time.time() * 1000) << 80 | 7 << 76 | 2 << 62)

    async def describe_task_queue() -> bool:
        return not await has_workers(client, "queue")

    async def describe_namespace() -> bool:
        with pytest.raises(CheckpointNotFoundError):
            await run_holding(client, "thread", f"{recent_id}.000001")
        return True

    return {
        "describe_task_queue": describe_task_queue,
        "describe_namespace": describe_namespace,
        "list_search_attributes": lambda: register(client),
        "describe_workflow_execution": lambda: latest_run(client, "thread"),
    }


async def test_a_request_survives_the_end_of_its_connection() -> None:
    """The server closes each connection after a second. Every request of ten seconds is answered nevertheless."""
    failures: Counter[str] = Counter()

    async def repeat(name: str, request: Callable[[], Awaitable[Any]]) -> None:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            try:
                answered = await request()
            except RPCError as error:
                failures[f"{name}: {error.status.name} {error.message}"] += 1
            else:
                failures[f"{name}: no answer"] += not answered

    async with dev_server(*SHORT_CONNECTIONS) as environment:
        client = environment.client
        await client.start_workflow("nothing", id="thread", task_queue="queue")
        assert await register(client)
        await asyncio.gather(
            *(repeat(name, request) for name, request in requests(client).items() for _ in range(LOOPS))
        )
    assert +failures == Counter()


class Flaky:
    """A call that fails some times before it succeeds."""

    def __init__(self, *statuses: RPCStatusCode) -> None:
        self.statuses = list(statuses)
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        if self.statuses:
            raise RPCError("operation was canceled", self.statuses.pop(0), b"")
        return "answer"


async def test_a_lost_connection_is_tried_again() -> None:
    """A call that fails with CANCELLED and then with UNAVAILABLE is made a third time."""
    call = Flaky(RPCStatusCode.CANCELLED, RPCStatusCode.UNAVAILABLE)
    assert await retried(call) == "answer"
    assert call.calls == 3


async def test_a_call_is_not_repeated_for_ever() -> None:
    """The last attempt's error is raised."""
    call = Flaky(*[RPCStatusCode.UNAVAILABLE] * ATTEMPTS)
    with pytest.raises(RPCError) as caught:
        await retried(call)
    assert caught.value.status is RPCStatusCode.UNAVAILABLE
    assert call.calls == ATTEMPTS


async def test_another_error_is_raised_at_once() -> None:
    """NOT_FOUND says nothing about the connection."""
    call = Flaky(RPCStatusCode.NOT_FOUND)
    with pytest.raises(RPCError) as caught:
        await retried(call)
    assert caught.value.status is RPCStatusCode.NOT_FOUND
    assert call.calls == 1


async def test_a_slow_failure_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that has met its own timeout, or that the SDK has repeated for seconds, does not begin anew."""
    monkeypatch.setattr("stepgraph.temporal.rpc.GIVE_UP_SECONDS", 0.0)
    call = Flaky(RPCStatusCode.CANCELLED)
    with pytest.raises(RPCError):
        await retried(call)
    assert call.calls == 1


async def test_a_cancelled_task_does_not_repeat_its_call() -> None:
    """The SDK may report the cancellation of the task that waits as CANCELLED. The call is not made again then."""
    calls = 0

    async def call() -> None:
        nonlocal calls
        calls += 1
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise RPCError("operation was canceled", RPCStatusCode.CANCELLED, b"") from None

    task = asyncio.create_task(retried(call))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(RPCError):
        await task
    assert calls == 1
