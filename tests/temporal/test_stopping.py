"""Nodes that are told to stop: by an invoke that takes its turn, and by Temporal's cancel of the thread."""

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

CommandKind = Literal["sync", "async", "in a row"]


class Log(TypedDict):
    lines: Annotated[list[str], add]


class Slow:
    """A graph whose last node takes long at its first call, and tidies up when it is told to stop."""

    def __init__(self, kind: CommandKind, *, tidying: float = 0.0) -> None:
        self.told: list[str] = []
        self.side_by_side = False
        self._tidying = tidying
        self._running = threading.Lock()
        builder = StateGraph(Log)
        builder.add_node("first", lambda state: {"lines": ["first"]})
        builder.add_node("slow", self._asynchronous if kind == "async" else self._synchronous)
        builder.add_edge(START, "first").add_edge("first", "slow").add_edge("slow", END)
        name = f"slow-{kind.replace(' ', '-')}"
        self.graph: CompiledGraph = builder.compile(name=name, durability="async" if kind == "in a row" else "sync")

    def _synchronous(self, state: Log) -> dict[str, Any]:
        self._begin()
        try:
            while len(self.told) == 1:
                time.sleep(0.01)
        except asyncio.CancelledError:
            self.told.append("stopped")
            time.sleep(self._tidying)
            raise
        finally:
            self._end()
        return {"lines": ["slow"]}

    async def _asynchronous(self, state: Log) -> dict[str, Any]:
        self._begin()
        try:
            while len(self.told) == 1:
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            self.told.append("stopped")
            await asyncio.sleep(self._tidying)
            raise
        finally:
            self._end()
        return {"lines": ["slow"]}

    def _begin(self) -> None:
        self.side_by_side = self.side_by_side or not self._running.acquire(blocking=False)
        self.told.append("begun")

    def _end(self) -> None:
        self.told.append("ended")
        self._running.release()

    async def has(self, what: str) -> None:
        """Until the node has told that."""
        while what not in self.told:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("kind", ["sync", "async", "in a row"])
async def test_who_takes_its_turn_waits_until_the_nodes_have_really_stopped(stage: Stage, kind: CommandKind) -> None:
    """The old super-step and the new one never run side by side; the node hears of it within seconds."""
    slow = Slow(kind, tidying=1.0)
    client, config = stage.use(slow.graph), stage.thread()
    async with stage.serving(slow.graph):
        running = await client.astart({"lines": ["a"]}, config)
        await slow.has("begun")
        asked = time.monotonic()
        second = asyncio.ensure_future(client.ainvoke({"lines": ["b"]}, config, on_busy="cancel"))
        await slow.has("stopped")
        assert time.monotonic() - asked < 8
        assert await running.result() == {"lines": ["a", "first"]}
        assert (await second)["lines"] == ["a", "first", "b", "first", "slow"]
        assert slow.told == ["begun", "stopped", "ended", "begun", "ended"]
        assert not slow.side_by_side


@pytest.mark.parametrize("kind", ["sync", "async", "in a row"])
async def test_temporals_cancel_stops_the_node_and_keeps_what_finished(stage: Stage, kind: CommandKind) -> None:
    """The run is cancelled once the node has stopped, and the thread can be resumed."""
    slow = Slow(kind)
    client, config = stage.use(slow.graph), stage.thread()
    async with stage.serving(slow.graph):
        running = await client.astart({"lines": ["a"]}, config)
        await slow.has("begun")
        await stage.client.get_workflow_handle(running.thread_id).cancel()
        with pytest.raises(RunEndedError, match="was cancelled") as caught:
            await running.result()
        assert caught.value.status == "cancelled"
        assert slow.told == ["begun", "stopped", "ended"]
        state = await client.aget_state(config)
        assert (state.values, state.next) == ({"lines": ["a", "first"]}, ("slow",))
        assert [task.error for task in state.tasks] == [None]
        assert await client.ainvoke(None, config) == {"lines": ["a", "first", "slow"]}


@pytest.mark.parametrize("how", ["refuses", "finishes"])
async def test_a_node_may_finish_although_it_is_told_to_stop(
    stage: Stage, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then its result is kept; one that goes on for too long is left behind."""
    if how == "refuses":
        monkeypatch.setattr("stepgraph_workflows.super_steps.STOP_PATIENCE", timedelta(seconds=2))
    begun, release = threading.Event(), threading.Event()

    def stubborn(state: Log) -> dict[str, Any]:
        if begun.is_set():
            return {"lines": ["again"]}
        begun.set()
        try:
            _until(lambda: False)
        except asyncio.CancelledError:
            if how == "refuses":
                _until(release.is_set)
        return {"lines": ["stubborn"]}

    builder = StateGraph(Log)
    builder.add_node(stubborn).add_edge(START, "stubborn")
    graph = builder.add_edge("stubborn", END).compile(name=f"stubborn-{how}")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        running = await client.astart({"lines": ["a"]}, config)
        await asyncio.to_thread(begun.wait)
        second = await client.ainvoke({"lines": ["b"]}, config, on_busy="cancel")
        first = await running.result()
        release.set()
    kept = ["stubborn"] if how == "finishes" else []
    assert first["lines"] == ["a", *kept]
    assert second["lines"] == ["a", *kept, "b", "again"]


def _until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.01)
