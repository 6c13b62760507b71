"""`invoke(None, config)` on a thread whose run is under way joins that run."""

from __future__ import annotations

import asyncio
from operator import add
from typing import Annotated, Any, TypedDict

import pytest

from stepgraph import Command, GraphClient, interrupt
from stepgraph.errors import InvalidUpdateError, StepgraphError
from stepgraph.protocol.names import INVOKE
from tests.conftest import Stage
from tests.patience import eventually
from tests.temporal.graphs import chain, side_by_side

pytestmark = pytest.mark.usefixtures("frequent_heartbeats")


class Log(TypedDict):
    lines: Annotated[list[str], add]


class Held:
    """A node that notes each of its runs, and waits until it is let go; then it writes a line, or fails."""

    def __init__(self, *, fails: bool = False) -> None:
        self.runs = 0
        self.fails = fails
        self.go = asyncio.Event()

    async def __call__(self, state: Log) -> dict[str, Any]:
        self.runs += 1
        await self.go.wait()
        if self.fails:
            raise ConnectionError("no route")
        return {"lines": [f"held {state['lines'][-1]}"]}


async def joined(client: GraphClient, config: dict[str, Any], **options: Any) -> asyncio.Task[dict[str, Any]]:
    """Return a call of `ainvoke` without an input, that has had its chance to be refused."""
    call = asyncio.ensure_future(client.ainvoke(None, config, **options))
    started = await client.astart(None, config, **options)
    assert started.thread_id == config["configurable"]["thread_id"]
    return call


@pytest.mark.parametrize("options", [{}, {"on_busy": "enqueue"}], ids=["default", "enqueue"])
async def test_a_caller_that_joins_gets_what_the_run_returns(stage: Stage, options: dict[str, Any]) -> None:
    """Both callers get the values, the node runs once, and the history has no trace of the one that joined."""
    held = Held()
    graph = chain(Log, {"held": held}, name="joined")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        first = await client.astart({"lines": ["a"]}, config)
        await eventually(lambda: held.runs)
        calls = [await joined(client, config, **options) for _ in range(2)]
        held.go.set()
        assert await first.result() == {"lines": ["a", "held a"]}
        assert await asyncio.gather(*calls) == [{"lines": ["a", "held a"]}] * 2
        assert held.runs == 1
        assert INVOKE not in await stage.accepted_updates(first.thread_id)
        assert len(await stage.runs(first.thread_id)) == 1


async def test_a_caller_that_joins_gets_the_error_of_the_run(stage: Stage) -> None:
    """The error is the node's own, as the first caller gets it. After it, two calls at once resume the thread once."""
    held = Held(fails=True)
    graph = chain(Log, {"held": held}, name="joined-failing")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        first = await client.astart({"lines": ["a"]}, config)
        await eventually(lambda: held.runs)
        call = await joined(client, config)
        held.go.set()
        for waiting in (first.result(), call):
            with pytest.raises(ConnectionError, match="no route"):
                await waiting
        held.fails = False
        results = await asyncio.gather(*(client.ainvoke(None, config) for _ in range(2)))
        assert results == [{"lines": ["a", "held a"]}] * 2
        assert held.runs == 2
        assert await client.ainvoke(None, config) == results[0]


async def test_a_run_without_a_worker_is_joined(stage: Stage) -> None:
    """A caller that comes before any worker waits until one has opened the thread."""
    held = Held()
    held.go.set()
    graph = chain(Log, {"held": held}, name="joined-early")
    config = stage.thread()
    client = GraphClient(stage.client, graph.name, task_queue=stage.task_queue, check_workers=False)
    await client.astart({"lines": ["a"]}, config)
    call = asyncio.ensure_future(client.ainvoke(None, config))
    async with stage.serving(graph):
        assert await call == {"lines": ["a", "held a"]}
    assert held.runs == 1


async def test_a_joined_run_may_continue_as_new(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller gets what the last run of the chain returns."""
    monkeypatch.setenv("STEPGRAPH_CONTINUE_AS_NEW_STEPS", "1")
    held = Held()
    graph = chain(Log, {"one": held, "two": held, "three": held}, name="joined-chain")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        await client.astart({"lines": ["a"]}, config)
        await eventually(lambda: held.runs)
        call = await joined(client, config)
        held.go.set()
        assert (await call)["lines"][-1] == "held held held a"
        assert len(await stage.runs(config["configurable"]["thread_id"])) > 1


async def test_a_caller_joins_the_invocation_that_runs_not_those_that_wait(stage: Stage) -> None:
    """With inputs in the queue, the caller gets the values at the end of the current one."""
    held = Held()
    graph = chain(Log, {"held": held}, name="joined-queue")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        await client.astart({"lines": ["a"]}, config)
        await eventually(lambda: held.runs)
        queued = await client.astart({"lines": ["b"]}, config, on_busy="enqueue")
        call = await joined(client, config)
        held.go.set()
        assert await call == {"lines": ["a", "held a"]}
        assert await queued.result() == {"lines": ["a", "held a", "b", "held b"]}


async def test_a_thread_that_waits_is_not_running(stage: Stage) -> None:
    """At an interrupt the caller gets the interrupts, at once and after a node beside it; a breakpoint is passed."""
    held = Held()

    def ask(state: Log) -> dict[str, Any]:
        return {"lines": [interrupt("sure?")]}

    graph = side_by_side(Log, {"ask": ask, "held": held}, lambda state: {"lines": ["last"]}, name="joined-waiting")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        await client.astart({"lines": ["a"]}, config)
        await eventually(lambda: held.runs)
        call = await joined(client, config)
        held.go.set()
        for result in (await call, await client.ainvoke(None, config)):
            assert [each.value for each in result["__interrupt__"]] == ["sure?"]
        assert "__interrupt__" not in await client.ainvoke(Command(resume="yes"), config, interrupt_before=["last"])
        assert (await client.ainvoke(None, config))["lines"][-1] == "last"


async def test_an_answer_to_a_running_thread_is_refused_at_once(stage: Stage) -> None:
    """Nothing waits for the answer, and the message says what to do instead."""
    held = Held()
    graph = chain(Log, {"held": held}, name="not-asking")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        first = await client.astart({"lines": ["a"]}, config)
        await eventually(lambda: held.runs)
        with pytest.raises(InvalidUpdateError, match=r"is running .* does not wait for an answer\. invoke\(None"):
            await client.ainvoke(Command(resume="yes"), config)
        held.go.set()
        assert await first.result() == {"lines": ["a", "held a"]}
        with pytest.raises(StepgraphError, match="does not wait for an answer"):
            await client.ainvoke(Command(resume="yes"), config)
