"""Nodes that are cancelled: by an invoke with ``on_busy="cancel"``, and by Temporal's cancel of the run."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from operator import add
from typing import Annotated, Any, Literal, TypedDict

import pytest

from stepgraph import END, START, StateGraph
from stepgraph.errors import RunEndedError
from stepgraph.graph.compiled import CompiledGraph
from tests.conftest import Stage
from tests.patience import eventually

NodeKind = Literal["sync", "async", "fused"]

DAY = timedelta(days=1)


class Log(TypedDict):
    lines: Annotated[list[str], add]


class Slow:
    """A graph whose last node runs until it is cancelled at its first call, and then cleans up.

    Heartbeat timeouts are a day, so the node hears of its cancellation only if heartbeats are more frequent than that
    requires.
    """

    def __init__(self, kind: NodeKind, *, cleanup_seconds: float = 0.0) -> None:
        self.events: list[str] = []
        self.side_by_side = False
        self._cleanup_seconds = cleanup_seconds
        self._running = threading.Lock()
        builder = StateGraph(Log)
        builder.add_node("first", lambda state: {"lines": ["first"]}, heartbeat_timeout=DAY)
        node = self._asynchronous if kind == "async" else self._synchronous
        builder.add_node("slow", node, heartbeat_timeout=DAY)
        builder.add_edge(START, "first").add_edge("first", "slow").add_edge("slow", END)
        durability: Literal["sync", "async"] = "async" if kind == "fused" else "sync"
        self.graph: CompiledGraph = builder.compile(name=f"slow-{kind}", durability=durability)

    def _synchronous(self, state: Log) -> dict[str, Any]:
        self._begin()
        try:
            while len(self.events) == 1:
                time.sleep(0.01)
        except asyncio.CancelledError:
            self.events.append("stopped")
            time.sleep(self._cleanup_seconds)
            raise
        finally:
            self._end()
        return {"lines": ["slow"]}

    async def _asynchronous(self, state: Log) -> dict[str, Any]:
        self._begin()
        try:
            while len(self.events) == 1:
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            self.events.append("stopped")
            await asyncio.sleep(self._cleanup_seconds)
            raise
        finally:
            self._end()
        return {"lines": ["slow"]}

    def _begin(self) -> None:
        self.side_by_side = self.side_by_side or not self._running.acquire(blocking=False)
        self.events.append("begun")

    def _end(self) -> None:
        self.events.append("ended")
        self._running.release()

    async def has(self, event: str) -> None:
        """Wait until the node has recorded an event."""
        await eventually(lambda: event in self.events)


@pytest.mark.parametrize("kind", ["sync", "async", "fused"])
async def test_an_invoke_that_cancels_nodes_waits_until_they_have_stopped(stage: Stage, kind: NodeKind) -> None:
    """An invoke with ``on_busy="cancel"`` begins after the cancelled nodes have stopped, never beside them."""
    slow = Slow(kind, cleanup_seconds=1.0)
    client, config = stage.use(slow.graph), stage.thread()
    async with stage.serving(slow.graph):
        running = await client.astart({"lines": ["a"]}, config)
        await slow.has("begun")
        second = asyncio.ensure_future(client.ainvoke({"lines": ["b"]}, config, on_busy="cancel"))
        await slow.has("stopped")
        assert await running.result() == {"lines": ["a", "first"]}
        assert (await second)["lines"] == ["a", "first", "b", "first", "slow"]
        assert slow.events == ["begun", "stopped", "ended", "begun", "ended"]
        assert not slow.side_by_side


@pytest.mark.usefixtures("frequent_heartbeats")
@pytest.mark.parametrize("kind", ["sync", "async", "fused"])
async def test_temporals_cancel_stops_the_node_and_keeps_finished_tasks(stage: Stage, kind: NodeKind) -> None:
    """A cancelled run ends once its node has stopped, and the thread can be resumed."""
    slow = Slow(kind)
    client, config = stage.use(slow.graph), stage.thread()
    async with stage.serving(slow.graph):
        running = await client.astart({"lines": ["a"]}, config)
        await slow.has("begun")
        await stage.client.get_workflow_handle(running.thread_id).cancel()
        with pytest.raises(RunEndedError, match="was cancelled") as caught:
            await running.result()
        assert caught.value.status == "cancelled"
        assert slow.events == ["begun", "stopped", "ended"]
        state = await client.aget_state(config)
        assert (state.values, state.next) == ({"lines": ["a", "first"]}, ("slow",))
        assert [task.error for task in state.tasks] == [None]
        assert await client.ainvoke(None, config) == {"lines": ["a", "first", "slow"]}


@pytest.mark.usefixtures("frequent_heartbeats")
@pytest.mark.parametrize("how", ["refuses", "finishes"])
async def test_a_node_may_finish_although_it_is_cancelled(
    stage: Stage, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result of a node that finishes after its cancellation is kept, unless the node takes too long."""
    if how == "refuses":
        monkeypatch.setattr("stepgraph_workflows.super_steps.STOP_TIMEOUT", timedelta(seconds=2))
    begun, release = threading.Event(), threading.Event()

    def stubborn(state: Log) -> dict[str, Any]:
        if begun.is_set():
            return {"lines": ["again"]}
        begun.set()
        try:
            _block_until(lambda: False)
        except asyncio.CancelledError:
            if how == "refuses":
                _block_until(release.is_set)
        return {"lines": ["stubborn"]}

    builder = StateGraph(Log)
    builder.add_node(stubborn).add_edge(START, "stubborn")
    graph = builder.add_edge("stubborn", END).compile(name=f"stubborn-{how}")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        running = await client.astart({"lines": ["a"]}, config)
        await eventually(begun.is_set)
        second = await client.ainvoke({"lines": ["b"]}, config, on_busy="cancel")
        first = await running.result()
        release.set()
    written = ["stubborn"] if how == "finishes" else []
    assert first["lines"] == ["a", *written]
    assert second["lines"] == ["a", *written, "b", "again"]


def _block_until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.01)
