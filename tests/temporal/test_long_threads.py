"""Threads of many steps, and states too large to be part of every activity's input."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import timedelta
from operator import add
from typing import Annotated, Any, TypedDict

import pytest

from stepgraph import END, START, StateGraph
from stepgraph.client import run_queries
from stepgraph.engine import recent_history
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.testing import MemoryRunner
from tests.conftest import Stage
from tests.patience import PATIENCE
from tests.temporal.graphs import chain, side_by_side


class Chat(TypedDict):
    messages: Annotated[list[str], add]
    turns: int


def talks(turns: int, size: int, *, fails_at: int | None = None) -> CompiledGraph:
    """Return a graph that loops, and writes a message in every turn."""
    failed = []

    def talk(state: Chat) -> dict[str, Any]:
        if state["turns"] == fails_at and not failed:
            failed.append(True)
            raise ConnectionError("no route")
        state["messages"].append("a node may change its input without consequences")
        return {"messages": [f"{state['turns']}:".ljust(size, "é")], "turns": state["turns"] + 1}

    builder = StateGraph(Chat)
    builder.add_node("talk", talk)
    builder.add_edge(START, "talk")
    builder.add_conditional_edges("talk", lambda state: END if state["turns"] >= turns else "talk", ["talk", END])
    return builder.compile(name="talks")


@pytest.fixture
def _short_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs continue as new after a few steps."""
    monkeypatch.setenv("STEPGRAPH_CONTINUE_AS_NEW_STEPS", "8")
    monkeypatch.setattr(recent_history, "SHORT_RUN", 5)
    monkeypatch.setattr(recent_history, "RECENT_STEPS", 4)


@pytest.mark.usefixtures("_short_runs")
async def test_a_long_thread_continues_as_new(stage: Stage) -> None:
    """The caller of a long thread waits for its last run. The history and the recursion limit span the runs."""
    graph = talks(30, 10)
    client, config = stage.use(graph), stage.thread(recursion_limit=30)
    async with stage.serving(graph):
        result = await client.ainvoke({"messages": [], "turns": 0}, config)
        assert result["turns"] == 30
        runs = await stage.runs(config["configurable"]["thread_id"])
        assert len(runs) == 4
        history = [s async for s in client.aget_state_history(config)]
    assert [s.metadata["step"] for s in history if s.metadata] == list(range(31, -1, -1))
    oracle = MemoryRunner(graph)
    assert oracle.graph is graph
    expected = await oracle.ainvoke({"messages": [], "turns": 0}, config)
    assert result == expected
    assert [s.values for s in history] == [s.values for s in oracle.get_state_history(config)]


@pytest.mark.usefixtures("_short_runs")
async def test_the_checkpoints_of_a_long_closed_thread_need_no_worker(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record has the latest checkpoints, also for `before` and a filter. For older ones, the runs are replayed."""
    graph = talks(30, 10)
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        await client.ainvoke({"messages": [], "turns": 0}, config)
        latest = [s async for s in client.aget_state_history(config, limit=5)]
        everything = [s async for s in client.aget_state_history(config)]
    without_worker = [s async for s in client.aget_state_history(config, limit=5)]
    assert without_worker == latest
    assert [s.values["turns"] for s in without_worker] == [30, 29, 28, 27, 26]
    assert [s async for s in client.aget_state_history(config, before=latest[1].config, limit=3)] == latest[2:]
    assert [s async for s in client.aget_state_history(config, filter={"step": 29}, limit=1)] == [latest[2]]
    monkeypatch.setattr(run_queries, "WORKER_PATIENCE", timedelta())  # the server still lists the worker that ended
    assert [s async for s in client.aget_state_history(config)] == everything


@pytest.mark.usefixtures("_short_runs")
async def test_a_failure_in_a_run_that_continued_another_is_resumed(stage: Stage) -> None:
    """The recursion limit counts across the runs that continue as new, and the resume has a new limit."""
    graph = talks(20, 10, fails_at=13)
    client, config = stage.use(graph), stage.thread(recursion_limit=19)
    async with stage.serving(graph):
        with pytest.raises(ConnectionError, match="step 15"):
            await client.ainvoke({"messages": [], "turns": 0}, config)
        assert (await client.aget_state(config)).values["turns"] == 13
        assert (await client.ainvoke(None, config))["turns"] == 20
        history = [s async for s in client.aget_state_history(config)]
    assert [s.metadata["step"] for s in history if s.metadata] == list(range(21, -1, -1))


async def test_a_history_grows_with_the_writes_and_not_with_the_state(stage: Stage) -> None:
    """A large state is no part of an activity's input, so each write is in the events once: bytes grow like steps."""

    async def history_bytes(turns: int) -> int:
        graph = talks(turns, 500)
        client, config = stage.use(graph), stage.thread()
        async with stage.serving(graph):
            await client.ainvoke({"messages": [], "turns": 0}, config)
        (run,) = await stage.runs(config["configurable"]["thread_id"])
        events = await stage.history(run)
        return sum(event.ByteSize() for event in events.events) - 2 * 1000 * turns  # the record at the end is the state

    short, long = await history_bytes(40), await history_bytes(80)
    assert long < 2.3 * short


async def test_siblings_with_a_large_state_fit_into_one_workflow_task(stage: Stage) -> None:
    """Twenty nodes run side by side on a state of 1 MB. Inputs of 20 MB would fail the workflow task for ever."""

    class Wide(TypedDict):
        blob: str
        sizes: Annotated[list[int], add]

    nodes = {f"n{n:02d}": lambda state: {"sizes": [len(state["blob"])]} for n in range(20)}
    graph = side_by_side(Wide, nodes, lambda state: None, name="wide")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        result = await client.ainvoke({"blob": "x" * 1_000_000}, config)
    assert result["sizes"] == [1_000_000] * 20


async def test_nodes_that_are_not_async_run_side_by_side(stage: Stage) -> None:
    """Nodes that are not async run on threads: both are in their node at once, and do not block the worker."""
    meeting = threading.Barrier(2, timeout=PATIENCE)

    def meets(state: Chat) -> dict[str, Any]:
        meeting.wait()
        return {"messages": [threading.current_thread().name]}

    graph = side_by_side(Chat, {"a": meets, "b": meets}, lambda state: None, name="meeting")
    client = stage.use(graph)
    async with stage.serving(graph):
        result = await client.ainvoke({"turns": 0}, stage.thread())
    assert all(name.startswith("stepgraph-node") for name in result["messages"])


async def test_heartbeats_are_sent_for_a_node_that_sends_none(stage: Stage) -> None:
    """A node may block for longer than its heartbeat timeout: only a worker that has died sends no heartbeats."""
    timeout = 3.0
    attempts: list[int] = []

    def blocks(state: Chat, config: dict[str, Any]) -> dict[str, Any]:
        attempts.append(config["metadata"]["attempt"])
        time.sleep(timeout + 0.5)
        return {"turns": 1}

    graph = chain(Chat, {"blocks": blocks}, name="blocks", heartbeat_timeout=timeout)
    client = stage.use(graph)
    async with stage.serving(graph, max_heartbeat_throttle_interval=timedelta(seconds=0.1)):
        await asyncio.wait_for(client.ainvoke({"turns": 0}, stage.thread()), PATIENCE)
    assert attempts == [1]
