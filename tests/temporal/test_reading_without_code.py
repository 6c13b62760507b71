"""Tests that threads are read, opened and driven by processes that do not have the code of their graph."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Annotated, Any, TypedDict

import pytest
from temporalio.worker import Worker

from stepgraph import END, START, Command, GraphClient, GraphPlugin, StateGraph, interrupt
from stepgraph.client import run_queries
from stepgraph.errors import UnknownGraphError
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.protocol.names import SHARED_TASK_QUEUE, task_queue_of
from stepgraph.testing import MemoryRunner
from stepgraph_activities import open_thread
from tests.conftest import Stage, has_poller
from tests.patience import PATIENCE, eventually
from tests.temporal.graphs import chain


def best_three(left: list[int], right: list[int]) -> list[int]:
    return sorted([*left, *right])[-3:]


class State(TypedDict):
    best: Annotated[list[int], best_three]
    words: Annotated[list[str], lambda left, right: [*left, *right]]
    turns: int


class Other(TypedDict):
    query: str


OTHER = chain(Other, {"only": lambda state: None}, name="other")


def mixed() -> CompiledGraph:
    """A graph with custom reducers, a join, an interrupt and a row of fused super-steps."""

    def turn(state: State) -> dict[str, Any]:
        if state["turns"] < 0:
            raise ConnectionError("no turn")
        return {"turns": state["turns"] + 1, "best": [state["turns"]]}

    builder = StateGraph(State)
    builder.add_node("left", lambda state: {"best": [4, 1], "words": ["left"]})
    builder.add_node("right", lambda state: {"best": [9], "words": ["right"]})
    builder.add_node("ask", lambda state: {"words": [interrupt({"best": state["best"]})]})
    builder.add_node("turn", turn, durability="async")
    builder.add_edge(START, "left").add_edge(START, "right").add_edge(["left", "right"], "ask").add_edge("ask", "turn")
    builder.add_conditional_edges("turn", lambda state: "turn" if state["turns"] < 20 else END, ["turn", END])
    return builder.compile(name="mixed")


@asynccontextmanager
async def worker_on(stage: Stage, task_queue: str, graph: CompiledGraph) -> AsyncIterator[None]:
    """Run a worker for one graph on a task queue."""
    async with Worker(stage.client, task_queue=task_queue, plugins=[GraphPlugin([graph])]):
        await eventually(lambda: has_poller(stage.client, task_queue))
        yield


async def history(client: GraphClient, config: dict[str, Any]) -> list[Any]:
    """Return what is the same wherever a thread runs: values, next nodes and metadata."""
    return [(each.values, each.next, each.metadata) async for each in client.aget_state_history(config)]


async def test_a_run_goes_through_a_worker_that_lacks_its_graph(stage: Stage) -> None:
    """A run of the shared task queue gets its spec, and has its nodes run, by the workers of the graph's own."""
    graph = mixed()
    oracle, memory_config = MemoryRunner(graph), {"configurable": {"thread_id": "m"}}
    oracle.invoke({"best": [5], "words": [], "turns": 0}, memory_config)
    oracle.update_state(memory_config, {"best": [7, 8]}, as_node="human")
    oracle.invoke(Command(resume="yes"), memory_config)
    expected = [(each.values, each.next, each.metadata) for each in oracle.get_state_history(memory_config)]
    stage.use(graph)
    client = GraphClient(stage.client, graph.name, task_queue=SHARED_TASK_QUEUE, schema=graph.registry.schema)
    config = stage.thread()
    own_queue = task_queue_of(graph.name)
    async with worker_on(stage, SHARED_TASK_QUEUE, OTHER), worker_on(stage, own_queue, graph):
        await client.ainvoke({"best": [5], "words": [], "turns": 0}, config)
        await client.aupdate_state(config, {"best": [7, 8]}, as_node="human")
        assert (await client.ainvoke(Command(resume="yes"), config))["turns"] == 20
        assert await history(client, config) == expected
    assert await history(client, config) == expected


async def test_a_mistyped_name_fails_at_once(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is nearly that of a graph of the worker is not looked for elsewhere, even for a moment."""
    monkeypatch.setattr(open_thread, "POLLER_CHECK_SECONDS", PATIENCE)
    async with worker_on(stage, SHARED_TASK_QUEUE, OTHER):
        handle = await stage.client.start_workflow(
            "othr", {"query": "x"}, id=stage.thread()["configurable"]["thread_id"], task_queue=SHARED_TASK_QUEUE
        )
        client = GraphClient(stage.client, "othr", task_queue=SHARED_TASK_QUEUE)
        run = await client.aget_run({"configurable": {"thread_id": handle.id}})
        assert run is not None
        with pytest.raises(UnknownGraphError, match="no graph 'othr'. Did you mean 'other'"):
            await run.result()


async def test_an_unknown_name_fails_when_no_worker_has_it(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph that no worker serves ends the run with an error that says what to start."""
    monkeypatch.setattr(open_thread, "POLLER_CHECK_SECONDS", 0.01)
    async with worker_on(stage, SHARED_TASK_QUEUE, OTHER):
        client = GraphClient(stage.client, "far", task_queue=SHARED_TASK_QUEUE, check_workers=False)
        with pytest.raises(UnknownGraphError, match="no graph 'far'.* Start a worker with its code"):
            await client.ainvoke({"query": "x"}, stage.thread())


@pytest.mark.parametrize("state", ["waiting", "failed", "closed", "terminated"])
async def test_a_thread_is_read_without_worker_and_code(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    """State and history are the same whether a worker answers, or the reader replays the run's history."""
    monkeypatch.setattr(run_queries, "WORKER_PATIENCE", timedelta())  # the server still lists the worker that ended
    graph, config = mixed(), stage.thread()
    stage.use(graph)
    client = GraphClient(stage.client, graph.name, task_queue=stage.task_queue)
    thread_id = config["configurable"]["thread_id"]
    async with stage.serving(graph):
        await client.ainvoke({"best": [5], "words": [], "turns": 0}, config)
        if state == "failed":
            await client.aupdate_state(config, {"turns": -1, "words": ["by hand"]}, as_node="ask")
            with pytest.raises(ConnectionError, match="no turn"):
                await client.ainvoke(None, config)
        elif state == "closed":
            await client.ainvoke(Command(resume="yes"), config)
        elif state == "terminated":
            await stage.client.get_workflow_handle(thread_id).terminate()
        with_worker = [each async for each in client.aget_state_history(config)]
        head = await client.aget_state(config)
        at_each = [await client.aget_state(each.config) for each in with_worker]
    assert [each async for each in client.aget_state_history(config)] == with_worker
    assert await client.aget_state(config) == head
    assert [await client.aget_state(each.config) for each in with_worker[:5]] == at_each[:5]
    assert len(with_worker) >= 3
    if state == "waiting":
        await stage.client.get_workflow_handle(thread_id).terminate()


async def test_many_readers_replay_at_once(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replays of one process do not disturb each other, nor the thread."""
    monkeypatch.setattr(run_queries, "WORKER_PATIENCE", timedelta())
    graph, config = mixed(), stage.thread()
    client = stage.use(graph)
    async with stage.serving(graph):
        await client.ainvoke({"best": [5], "words": [], "turns": 0}, config)
        head = await client.aget_state(config)
    assert await asyncio.gather(*(client.aget_state(config) for _ in range(20))) == [head] * 20
    async with stage.serving(graph):
        assert (await client.ainvoke(Command(resume="yes"), config))["turns"] == 20
