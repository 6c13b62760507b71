"""A state reaches a node inline, from a cache, or by query. The history is the same for all of them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.worker import (
    HandleQueryInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)

from stepgraph import Command, interrupt
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.hosting.graph_worker import graph_worker
from stepgraph.protocol.names import GET_VALUES
from stepgraph.protocol.snapshot import StateSnapshot
from stepgraph.temporal.payloads import from_raw
from stepgraph.temporal.state_cache import process_cache
from stepgraph.testing import MemoryRunner
from tests.conftest import ROOT, Stage
from tests.patience import PATIENCE, eventually
from tests.temporal.graphs import chain
from tests.temporal.growing_state import BLOCKED_TURN, TURNS, State, growing

LARGE = 1_100_000
"""Bytes of one channel. A whole state is more than one page."""


class ValueQueries(Interceptor):
    """Records how a worker's workflows answer queries for values: whole, with a piece, or with a difference."""

    def __init__(self) -> None:
        self.answers: list[str] = []

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:
        answers = self.answers

        class Inbound(WorkflowInboundInterceptor):
            async def handle_query(self, input: HandleQueryInput) -> Any:
                answer = await super().handle_query(input)
                if input.query == GET_VALUES:
                    data = from_raw(answer)
                    answers.append(next(kind for kind in ("values", "difference", "piece") if kind in data))
                return answer

        return Inbound


@pytest.fixture
def value_queries() -> ValueQueries:
    """An interceptor for the workflows of this process."""
    return ValueQueries()


@asynccontextmanager
async def worker_process(stage: Stage, task_queue: str, **env: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a worker for the graph's nodes in another process."""
    address = stage.client.service_client.config.target_host
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "worker.py"),
        *("--graphs", "tests.temporal.growing_state:graph", "--task-queue", task_queue),
        env={**os.environ, "TEMPORAL_ADDRESS": address, "STEPGRAPH_GRACEFUL_SHUTDOWN_SECONDS": "0", **env},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stderr is not None
        async with asyncio.timeout(PATIENCE):
            while b"worker starts" not in (line := await process.stderr.readline()):
                assert line, "the worker ended"
        reading = asyncio.ensure_future(process.stderr.read())  # a full pipe would block the worker
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    await reading


async def history_with(stage: Stage, graph: CompiledGraph, **options: Any) -> list[StateSnapshot]:
    """Return the history of a thread that runs to its end, is updated by hand, and runs again."""
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph, **options):
        await play(client, config)
        return [each async for each in client.aget_state_history(config)]


async def play(runner: Any, config: dict[str, Any]) -> None:
    """Run a thread, update it by hand, and run it again."""
    await runner.ainvoke({"log": [], "large": "x" * LARGE, "turns": 0}, config)
    await runner.aupdate_state(config, {"log": ["by hand"], "turns": TURNS - 2}, as_node="human")
    await runner.ainvoke({"messages": []}, config)


async def history_in_memory(graph: CompiledGraph) -> list[StateSnapshot]:
    """Return the history that `MemoryRunner` makes of the same commands."""
    oracle, config = MemoryRunner(graph), {"configurable": {"thread_id": "oracle"}}
    await play(oracle, config)
    return list(oracle.get_state_history(config))


def comparable(history: list[StateSnapshot]) -> list[Any]:
    """Return what snapshots have in common wherever they were made."""
    return [(each.values, each.next, each.metadata) for each in history]


@pytest.mark.parametrize("workflows", [1000, 0], ids=["workflows are cached", "every workflow task replays"])
@pytest.mark.parametrize(
    ("inline", "cache", "answers"),
    [
        pytest.param("100000000", "0", set(), id="inline"),
        pytest.param("0", "64000000", set(), id="cache"),
        pytest.param("0", "0", {"piece"}, id="whole"),
    ],
)
async def test_a_state_reaches_a_node_of_the_same_process(
    stage: Stage,
    value_queries: ValueQueries,
    monkeypatch: pytest.MonkeyPatch,
    inline: str,
    cache: str,
    answers: set[str],
    workflows: int,
) -> None:
    """A state is part of the activity's input, or comes from the cache without a query, or from a query in pages."""
    monkeypatch.setenv("STEPGRAPH_INLINE_BYTES", inline)
    monkeypatch.setenv("STEPGRAPH_STATE_CACHE_BYTES", cache)
    graph = growing()
    history = await history_with(stage, graph, interceptors=[value_queries], max_cached_workflows=workflows)
    assert comparable(history) == comparable(await history_in_memory(graph))
    assert set(value_queries.answers) == answers
    assert process_cache.bytes <= int(cache)


@pytest.mark.parametrize(
    ("cache", "answers"),
    [
        pytest.param("64000000", {"piece", "difference"}, id="differences"),
        pytest.param("1000000", {"piece"}, id="a bound that is too small for the state"),
        pytest.param("0", {"piece"}, id="whole"),
    ],
)
async def test_a_state_reaches_a_node_of_another_process(
    stage: Stage, value_queries: ValueQueries, cache: str, answers: set[str]
) -> None:
    """A process queries the whole state once in a run, then only differences; without a cache, always the whole."""
    task_queue = f"{stage.task_queue}-nodes"
    graph = growing(task_queue)
    async with worker_process(stage, task_queue, STEPGRAPH_STATE_CACHE_BYTES=cache):
        history = await history_with(stage, graph, interceptors=[value_queries])
    assert comparable(history) == comparable(await history_in_memory(graph))
    assert set(value_queries.answers) == answers
    if "difference" in answers:
        assert value_queries.answers.count("piece") == 2 * 2  # two runs, two pages
        assert value_queries.answers.count("difference") == TURNS - 1 + 2 - 1


async def test_a_state_reaches_several_processes_of_which_one_is_killed(
    stage: Stage, value_queries: ValueQueries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each process has other checkpoints in its cache; the remaining one goes on from those in its own."""
    task_queue = f"{stage.task_queue}-nodes"
    graph = growing(task_queue, heartbeat_timeout=4)
    notes = tmp_path / "turns"

    def turns() -> list[str]:
        return notes.read_text().splitlines() if notes.exists() else []

    async with (
        worker_process(stage, task_queue, NOTES=str(tmp_path)) as one,
        worker_process(stage, task_queue, NOTES=str(tmp_path)) as other,
    ):
        playing = asyncio.ensure_future(history_with(stage, graph, interceptors=[value_queries]))
        await eventually(lambda: len(turns()) > BLOCKED_TURN)
        killed = int(turns()[BLOCKED_TURN].split()[1])  # it is running the node
        os.kill(killed, signal.SIGKILL)
        (tmp_path / "killed").touch()
        history = await playing
    assert killed in (one.pid, other.pid)
    assert {int(line.split()[1]) for line in turns()[BLOCKED_TURN + 1 :]} == {one.pid, other.pid} - {killed}
    assert comparable(history) == comparable(await history_in_memory(graph))
    assert {"piece", "difference"} == set(value_queries.answers)


async def test_a_worker_keeps_no_more_runs_in_memory_than_configured(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting threads that the worker has evicted go on like those that it has in memory."""
    monkeypatch.setenv("STEPGRAPH_MAX_CACHED_WORKFLOWS", "2")
    graph = chain(State, {"ask": lambda state: {"log": [interrupt("well?")]}}, name="waiting")
    client, configs = stage.use(graph), [stage.thread() for _ in range(6)]
    worker = graph_worker(stage.client, [graph], task_queue=stage.task_queue, grace=timedelta(seconds=1))
    assert worker.config(active_config=True)["max_cached_workflows"] == 2
    async with worker:
        for config in configs:
            await client.ainvoke({"large": "x" * 10_000}, config)
        for n, config in enumerate(configs):
            assert (await client.ainvoke(Command(resume=f"answer {n}"), config))["log"] == [f"answer {n}"]
