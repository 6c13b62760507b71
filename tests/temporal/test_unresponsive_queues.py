"""Threads whose workers do not answer are read soon, and without filling the server's buffer of queries."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from operator import add
from typing import Annotated, Any, TypedDict

import pytest
from temporalio.api.enums.v1 import EventType

from stepgraph import interrupt
from stepgraph.temporal.executions import latest_run, was_picked_up
from tests.conftest import Stage
from tests.patience import eventually
from tests.temporal.graphs import chain


class Log(TypedDict):
    lines: Annotated[list[str], add]


def counted(monkeypatch: pytest.MonkeyPatch, service: Any, name: str) -> list[Any]:
    """Return a list to which each request of an RPC is added when the client sends it."""
    requests: list[Any] = []
    call = getattr(service, name)

    async def count(request: Any, **options: Any) -> Any:
        requests.append(request)
        return await call(request, **options)

    monkeypatch.setattr(service, name, count)
    return requests


async def test_one_query_without_an_answer_is_enough(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs of a thread are replayed at once after one query went unanswered, however many runs there are.

    `unresponsive_queue` says so, until a worker answers again.
    """
    monkeypatch.setattr("stepgraph.client.run_queries.UNRESPONSIVE_TIME", timedelta(hours=1))
    graph = chain(Log, {"node": lambda state: {"lines": ["ran"]}}, name="many-runs")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        for number in range(5):
            await client.ainvoke({"lines": [str(number)]}, config)
        expected = [snapshot async for snapshot in client.aget_state_history(config)]
    queries = counted(monkeypatch, stage.client.workflow_service, "query_workflow")
    assert [snapshot async for snapshot in client.aget_state_history(config)] == expected
    assert len(queries) <= 1
    run = await client.aget_run(config)
    assert run is not None
    assert await run.unresponsive_queue() is None, "the run is closed"


async def test_an_unresponsive_queue_is_told_of_an_open_thread(stage: Stage) -> None:
    """After a read that no worker answered, `unresponsive_queue` names the task queue and when it was last polled."""
    graph = chain(Log, {"ask": lambda state: {"lines": [interrupt("sure?")]}}, name="unresponsive")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        run = await client.astart({"lines": ["a"]}, config)
        await run.result()
        read = await client.aget_state(config)

        async def is_answered() -> bool:
            return await client.aget_state(config) == read and await run.unresponsive_queue() is None

        await eventually(is_answered)
    assert await client.aget_state(config) == read
    unresponsive = await run.unresponsive_queue()
    assert unresponsive is not None
    assert unresponsive.task_queue == stage.task_queue
    assert unresponsive.last_polled is not None


async def _next(client: Any, config: dict[str, Any], expected: tuple[str, ...]) -> bool:
    return bool((await client.aget_state(config)).next == expected)


async def test_a_follower_queries_only_what_has_grown(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a run's history stays as it is, `watch` sends no query, so none waits in the server's buffer."""
    held = asyncio.Event()

    async def hold(state: Log) -> dict[str, Any]:
        await held.wait()
        return {"lines": ["held"]}

    graph = chain(Log, {"first": lambda state: {"lines": ["first"]}, "hold": hold}, name="followed")
    client, config = stage.use(graph), stage.thread()
    monkeypatch.setattr("stepgraph.client.graph_run.POLL_SECONDS", 0.02)
    async with stage.serving(graph):
        run = await client.astart({"lines": ["a"]}, config)
        await eventually(lambda: _next(client, config, ("hold",)))
        steps: list[Any] = []

        async def watch() -> None:
            async for snapshot in run.watch():
                steps.append(snapshot.metadata and snapshot.metadata["step"])

        describes = counted(monkeypatch, stage.client.workflow_service, "describe_workflow_execution")
        queries = counted(monkeypatch, stage.client.workflow_service, "query_workflow")
        watching = asyncio.ensure_future(watch())
        await eventually(lambda: steps == [0, 1, 2])
        seen = len(describes)
        await eventually(lambda: len(describes) > seen + 20)
        growth = [event.event_type for event in (await _events(stage, run)) if event.event_type in DECIDED]
        assert len(queries) <= 2 * len(growth) + 2
        held.set()
        await watching
        assert steps == [0, 1, 2, 3]


DECIDED = {
    EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
}


async def _events(stage: Stage, run: Any) -> list[Any]:
    handle = stage.client.get_workflow_handle(run.thread_id, run_id=run.run_id)
    return list((await handle.fetch_history()).events)


async def test_whether_a_run_was_picked_up_is_read_in_few_pages(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first events tell it of a run that has begun, the whole history, in one more page, of one that has not."""
    graph = chain(Log, {"node": lambda state: {"lines": ["ran"]}}, name="picked-up")
    client, config = stage.use(graph), stage.thread()
    never = stage.thread()
    handle = await stage.client.start_workflow(
        graph.name, args=[{"lines": []}], id=never["configurable"]["thread_id"], task_queue=f"{stage.task_queue}-none"
    )
    stage.threads.remove(never["configurable"]["thread_id"])
    for number in range(60):
        await handle.signal("update_state", {"values": {"lines": [str(number)]}})
    await handle.terminate()
    async with stage.serving(graph):
        for number in range(20):
            await client.ainvoke({"lines": [str(number)]}, config)
    pages = counted(monkeypatch, stage.client.workflow_service, "get_workflow_execution_history")
    for thread, expected, most in ((config, True, 1), (never, False, 2)):
        run = await latest_run(stage.client, thread["configurable"]["thread_id"])
        assert run is not None
        pages.clear()
        assert await was_picked_up(stage.client, run) is expected
        assert len(pages) <= most
