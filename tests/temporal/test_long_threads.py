"""Threads of many steps, and states too large to travel in every input."""

from __future__ import annotations

import asyncio
from operator import add
from typing import Annotated, Any, TypedDict

import pytest

from stepgraph import END, START, StateGraph
from stepgraph.engine import recent_history as past
from stepgraph.errors import NoWorkerError
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.testing import MemoryRunner
from tests.conftest import Stage
from tests.temporal.graphs import chain, side_by_side


class Chat(TypedDict):
    messages: Annotated[list[str], add]
    turns: int


def talks(turns: int, size: int, *, fails_at: int | None = None) -> CompiledGraph:
    """A graph that loops, writing a message a turn."""
    failed = []

    def talk(state: Chat) -> dict[str, Any]:
        if state["turns"] == fails_at and not failed:
            failed.append(True)
            raise ConnectionError("no route")
        state["messages"].append("a node may do with its input as it likes")
        return {"messages": [f"{state['turns']}:".ljust(size, "é")], "turns": state["turns"] + 1}

    builder = StateGraph(Chat)
    builder.add_node("talk", talk)
    builder.add_edge(START, "talk")
    builder.add_conditional_edges("talk", lambda state: END if state["turns"] >= turns else "talk", ["talk", END])
    return builder.compile(name="talks")


@pytest.fixture
def handing_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs hand over after a few steps."""
    monkeypatch.setenv("STEPGRAPH_CONTINUE_AS_NEW_STEPS", "8")
    monkeypatch.setattr(past, "SHORT_RUN", 5)
    monkeypatch.setattr(past, "PAST_STEPS", 4)


@pytest.mark.usefixtures("handing_over")
async def test_a_long_thread_hands_over_from_run_to_run(stage: Stage) -> None:
    """The caller waits for the last one; the history, and the limit on steps, go on across them."""
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


@pytest.mark.usefixtures("handing_over")
async def test_the_latest_of_a_long_closed_thread_needs_no_worker(stage: Stage) -> None:
    """Its record has it; with `before`, and a filter, too. What is older has to be replayed by somebody."""
    graph = talks(30, 10)
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        await client.ainvoke({"messages": [], "turns": 0}, config)
        told = [s async for s in client.aget_state_history(config, limit=5)]
    alone = [s async for s in client.aget_state_history(config, limit=5)]
    assert alone == told
    assert [s.values["turns"] for s in alone] == [30, 29, 28, 27, 26]
    assert [s async for s in client.aget_state_history(config, before=told[1].config, limit=3)] == told[2:]
    assert [s async for s in client.aget_state_history(config, filter={"step": 29}, limit=1)] == [told[2]]
    with pytest.raises(NoWorkerError):
        [s async for s in client.aget_state_history(config, limit=6)]


@pytest.mark.usefixtures("handing_over")
async def test_a_failure_after_a_hand_over_is_resumed(stage: Stage) -> None:
    """The recursion limit counts across hand-overs, and the resume has a new one."""
    graph = talks(20, 10, fails_at=13)
    client, config = stage.use(graph), stage.thread(recursion_limit=19)
    async with stage.serving(graph):
        with pytest.raises(ConnectionError, match="step 15"):
            await client.ainvoke({"messages": [], "turns": 0}, config)
        assert (await client.aget_state(config)).values["turns"] == 13
        assert (await client.ainvoke(None, config))["turns"] == 20
        history = [s async for s in client.aget_state_history(config)]
    assert [s.metadata["step"] for s in history if s.metadata] == list(range(21, -1, -1))


async def test_by_reference_a_history_grows_with_what_is_written(stage: Stage) -> None:
    """Each write is in the events once: twice the steps are about twice the bytes."""

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
    """Twenty nodes side by side on a state of 1 MB: 20 MB of inputs would fail the workflow task again and again."""

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
    """On threads: both are inside at once, and the worker goes on meanwhile."""
    import threading

    meeting = threading.Barrier(2, timeout=10)

    def meets(state: Chat) -> dict[str, Any]:
        meeting.wait()
        return {"messages": [threading.current_thread().name]}

    graph = side_by_side(Chat, {"a": meets, "b": meets}, lambda state: None, name="meeting")
    client = stage.use(graph)
    async with stage.serving(graph):
        result = await client.ainvoke({"turns": 0}, stage.thread())
    assert all(name.startswith("stepgraph-node") for name in result["messages"])


async def test_heartbeats_are_sent_for_a_node_that_sends_none(stage: Stage) -> None:
    """A node may block for longer than its heartbeat timeout; only a dead worker misses a beat."""
    import time

    attempts: list[int] = []

    def blocks(state: Chat, config: dict[str, Any]) -> dict[str, Any]:
        attempts.append(config["metadata"]["attempt"])
        time.sleep(2.5)
        return {"turns": 1}

    graph = chain(Chat, {"blocks": blocks}, name="blocks", heartbeat_timeout=1)
    client = stage.use(graph)
    async with stage.serving(graph):
        await asyncio.wait_for(client.ainvoke({"turns": 0}, stage.thread()), 20)
    assert attempts == [1]
