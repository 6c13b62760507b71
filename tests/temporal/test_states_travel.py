"""By every way that a state can travel to a node, and whatever a process has at hand, the history is the same."""

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
from stepgraph.execution.state_cache import states
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.hosting.graph_worker import graph_worker
from stepgraph.protocol.names import GET_VALUES
from stepgraph.protocol.snapshot import StateSnapshot
from stepgraph.temporal.payloads import from_raw
from stepgraph.testing import MemoryRunner
from tests.conftest import ROOT, Stage
from tests.temporal.graphs import chain
from tests.temporal.travelling import TURNS, State, travelling

LARGE = 1_100_000
"""Bytes of one channel: a whole state has more than one page."""


class Watch(Interceptor):
    """Sees how a worker's workflows answer those who ask them for values: whole, a page of it, or a difference."""

    def __init__(self) -> None:
        self.answers: list[str] = []

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:
        answers = self.answers

        class Watching(WorkflowInboundInterceptor):
            async def handle_query(self, input: HandleQueryInput) -> Any:
                answer = await super().handle_query(input)
                if input.query == GET_VALUES:
                    told = from_raw(answer)
                    answers.append(next(kind for kind in ("values", "difference", "piece") if kind in told))
                return answer

        return Watching


@pytest.fixture
def watch() -> Watch:
    """A watch on the workflows of this process."""
    return Watch()


@asynccontextmanager
async def worker_elsewhere(stage: Stage, task_queue: str, **env: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A worker in another process, for the graph's nodes."""
    address = stage.client.service_client.config.target_host
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "worker.py"),
        *("--graphs", "tests.temporal.travelling:graph", "--task-queue", task_queue),
        env={**os.environ, "TEMPORAL_ADDRESS": address, "STEPGRAPH_GRACEFUL_SHUTDOWN_SECONDS": "0", **env},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stderr is not None
        async with asyncio.timeout(30):
            while b"worker starts" not in (line := await process.stderr.readline()):
                assert line, "the worker ended"
        reading = asyncio.ensure_future(process.stderr.read())  # so that it is never held up
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    await reading


async def played(stage: Stage, graph: CompiledGraph, **options: Any) -> list[StateSnapshot]:
    """The history of a thread that runs to its end, gets an update by hand, and runs again."""
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph, **options):
        await play(client, config)
        return [each async for each in client.aget_state_history(config)]


async def play(runner: Any, config: dict[str, Any]) -> None:
    await runner.ainvoke({"log": [], "large": "x" * LARGE, "turns": 0}, config)
    await runner.aupdate_state(config, {"log": ["by hand"], "turns": TURNS - 2}, as_node="human")
    await runner.ainvoke({"messages": []}, config)


async def expected(graph: CompiledGraph) -> list[StateSnapshot]:
    oracle, config = MemoryRunner(graph), {"configurable": {"thread_id": "oracle"}}
    await play(oracle, config)
    return list(oracle.get_state_history(config))


def told(history: list[StateSnapshot]) -> list[Any]:
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
async def test_in_one_process(
    stage: Stage,
    watch: Watch,
    monkeypatch: pytest.MonkeyPatch,
    inline: str,
    cache: str,
    answers: set[str],
    workflows: int,
) -> None:
    """Inside the input; from the cache, without a query; or, where nothing is kept, whole and in pages."""
    monkeypatch.setenv("STEPGRAPH_INLINE_BYTES", inline)
    monkeypatch.setenv("STEPGRAPH_STATE_CACHE_BYTES", cache)
    graph = travelling()
    history = await played(stage, graph, interceptors=[watch], max_cached_workflows=workflows)
    assert told(history) == told(await expected(graph))
    assert set(watch.answers) == answers
    assert states.bytes <= int(cache)


@pytest.mark.parametrize(
    ("cache", "answers"),
    [
        pytest.param("64000000", {"piece", "difference"}, id="differences"),
        pytest.param("1000000", {"piece"}, id="a bound that is too small for the state"),
        pytest.param("0", {"piece"}, id="whole"),
    ],
)
async def test_to_another_process(stage: Stage, watch: Watch, cache: str, answers: set[str]) -> None:
    """Once in a run whole and in pages, from then on what differs; always whole, where nothing can be kept."""
    elsewhere = f"{stage.task_queue}-elsewhere"
    graph = travelling(task_queue=elsewhere)
    async with worker_elsewhere(stage, elsewhere, STEPGRAPH_STATE_CACHE_BYTES=cache):
        history = await played(stage, graph, interceptors=[watch])
    assert told(history) == told(await expected(graph))
    assert set(watch.answers) == answers
    if "difference" in answers:
        assert watch.answers.count("piece") == 2 * 2  # two runs, two pages
        assert watch.answers.count("difference") == TURNS - 1 + 2 - 1


async def test_to_several_processes_of_which_one_is_killed(
    stage: Stage, watch: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each knows other checkpoints; the one left goes on from those that it has."""
    elsewhere = f"{stage.task_queue}-elsewhere"
    graph = travelling(task_queue=elsewhere)
    notes = tmp_path / "turns"
    async with (
        worker_elsewhere(stage, elsewhere, NOTES=str(tmp_path)) as one,
        worker_elsewhere(stage, elsewhere, NOTES=str(tmp_path)) as other,
    ):
        playing = asyncio.ensure_future(played(stage, graph, interceptors=[watch]))
        while not notes.exists() or len(lines := notes.read_text().splitlines()) < 4:
            await asyncio.sleep(0.02)
        killed = int(lines[-1].split()[1])  # it runs a node just now
        os.kill(killed, signal.SIGKILL)
        history = await playing
    assert killed in (one.pid, other.pid)
    assert {int(line.split()[1]) for line in notes.read_text().splitlines()[6:]} == {one.pid, other.pid} - {killed}
    assert told(history) == told(await expected(graph))
    assert {"piece", "difference"} == set(watch.answers)


async def test_a_worker_keeps_as_many_runs_as_it_is_told(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that wait, and are not in its memory, go on just the same."""
    monkeypatch.setenv("STEPGRAPH_MAX_CACHED_WORKFLOWS", "2")
    graph = chain(State, {"asks": lambda state: {"log": [interrupt("well?")]}}, name="waiting")
    client, configs = stage.use(graph), [stage.thread() for _ in range(6)]
    worker = graph_worker(stage.client, [graph], task_queue=stage.task_queue, grace=timedelta(seconds=1))
    assert worker.config(active_config=True)["max_cached_workflows"] == 2
    async with worker:
        for config in configs:
            await client.ainvoke({"large": "x" * 10_000}, config)
        for n, config in enumerate(configs):
            assert (await client.ainvoke(Command(resume=f"answer {n}"), config))["log"] == [f"answer {n}"]
