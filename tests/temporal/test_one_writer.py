"""A thread has one writer, however many clients there are."""

from __future__ import annotations

import asyncio
from operator import add
from typing import Annotated, Any, TypedDict

import pytest

from stepgraph.errors import StepgraphError, ThreadBusyError
from stepgraph.protocol.snapshot import config_for
from tests.conftest import Stage
from tests.temporal.graphs import chain


class Log(TypedDict):
    lines: Annotated[list[str], add]


async def test_a_second_invoke_on_a_running_thread_is_refused(stage: Stage) -> None:
    """At once, naming the run; the first one is not disturbed, and its result can be had by whoever asks."""
    go_on = asyncio.Event()

    async def slow(state: Log) -> dict[str, Any]:
        await go_on.wait()
        return {"lines": ["slow"]}

    graph = chain(Log, {"slow": slow}, name="busy")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        first = await client.astart({"lines": ["first"]}, config)
        for given in ({"lines": ["second"]}, None):
            with pytest.raises(ThreadBusyError, match="is running") as caught:
                await client.ainvoke(given, config)
            assert caught.value.run_id == first.run_id
        attached = await client.aget_run(config)
        assert attached is not None
        go_on.set()
        assert await attached.result() == await first.result() == {"lines": ["first", "slow"]}


@pytest.mark.parametrize("existing", [False, True])
async def test_of_many_invokes_at_once_one_wins(stage: Stage, existing: bool) -> None:
    """On a new thread and on a finished one: the others are refused, and no input is applied to a stale record."""
    graph = chain(Log, {"node": lambda state: {"lines": ["ran"]}}, name="race")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        if existing:
            await client.ainvoke({"lines": ["before"]}, config)
        results = await asyncio.gather(
            *(client.ainvoke({"lines": [str(n)]}, config) for n in range(12)), return_exceptions=True
        )
        won = [result for result in results if isinstance(result, dict)]
        refused = [result for result in results if isinstance(result, ThreadBusyError)]
        assert len(won) + len(refused) == 12
        assert won
        final = (await client.aget_state(config)).values["lines"]
        before = ["before", "ran"] if existing else []
        assert final[: len(before)] == before
        ran = final[len(before) :]
        assert ran[1::2] == ["ran"] * len(won), (
            "each winner's input was followed by the node, on the state of the one before"
        )
        assert len({*ran[::2]}) == len(won)


async def test_many_threads_at_once_do_not_mix(stage: Stage) -> None:
    """Fifty threads on one worker, each with its own values and history."""

    async def echo(state: Log) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"lines": [state["lines"][-1] * 2]}

    graph = chain(Log, {"one": echo, "two": echo}, name="many")
    client = stage.use(graph)
    configs = [stage.thread() for _ in range(50)]
    async with stage.serving(graph):
        results = await asyncio.gather(*(client.ainvoke({"lines": [str(n)]}, c) for n, c in enumerate(configs)))
        assert [result["lines"] for result in results] == [[str(n), str(n) * 2, str(n) * 4] for n in range(50)]
        for config in configs[:5]:
            history = [s async for s in client.aget_state_history(config)]
            assert [s.metadata["step"] for s in history if s.metadata] == [3, 2, 1, 0]


@pytest.mark.parametrize("thread_id", ["x" * 255, "😀" * 63], ids=["ascii", "escaped"])
async def test_a_thread_id_may_be_as_long_as_it_says(stage: Stage, thread_id: str) -> None:
    """Servers take it, also where it is searched for: as the origin of a fork."""
    graph = chain(Log, {"node": lambda state: {"lines": ["ran"]}}, name="long-named")
    client, config, fork = stage.use(graph), config_for(thread_id), stage.thread()
    stage.threads.append(thread_id)
    async with stage.serving(graph):
        assert await client.ainvoke({"lines": []}, config) == {"lines": ["ran"]}
        await client.afork(config, {"lines": ["more"]}, thread_id=fork["configurable"]["thread_id"])
        async with asyncio.timeout(20):
            while not (forks := await client.aget_forks(config)):  # visibility lags
                await asyncio.sleep(0.1)
        assert forks == [fork]


async def test_further_inputs_go_on_with_the_thread(stage: Stage) -> None:
    """Steps and values go on; an input on an unfinished thread discards what was pending there."""
    fail = [True]

    def node(state: Log) -> dict[str, Any]:
        if fail[0]:
            raise ConnectionError("no")
        return {"lines": ["ran"]}

    graph = chain(Log, {"node": node}, name="further")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        with pytest.raises(ConnectionError):
            await client.ainvoke({"lines": ["a"]}, config)
        fail[0] = False
        assert await client.ainvoke({"lines": ["b"]}, config) == {"lines": ["a", "b", "ran"]}
        assert await client.ainvoke({"lines": ["c"]}, config) == {"lines": ["a", "b", "ran", "c", "ran"]}
        history = [s async for s in client.aget_state_history(config)]
        told = [
            (s.metadata["step"], s.metadata["source"], len(s.values.get("lines", []))) for s in history if s.metadata
        ]
        assert told == [
            (7, "loop", 5),
            (6, "loop", 4),
            (5, "input", 3),
            (4, "loop", 3),
            (3, "loop", 2),
            (2, "input", 1),
            (1, "loop", 1),
            (0, "input", 0),
        ]
        assert [s.checkpoint_id for s in history] == sorted((s.checkpoint_id for s in history), reverse=True)


async def test_resuming_a_finished_thread_gives_its_values_and_runs_nothing(stage: Stage) -> None:
    """No run is started, and no worker is needed."""
    graph = chain(Log, {"node": lambda state: {"lines": ["ran"]}}, name="done")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        result = await client.ainvoke({"lines": []}, config)
    assert await client.ainvoke(None, config) == result == {"lines": ["ran"]}
    assert len(await stage.runs(config["configurable"]["thread_id"])) == 1


async def test_history_can_be_asked_for_in_parts(stage: Stage) -> None:
    """By limit, by metadata, and before a checkpoint; across runs, too."""
    graph = chain(Log, {"one": lambda s: {"lines": ["1"]}, "two": lambda s: None}, name="parts")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        for word in ("a", "b"):
            await client.ainvoke({"lines": [word]}, config)
        everything = [s async for s in client.aget_state_history(config)]
        assert len(everything) == 8
        assert [s async for s in client.aget_state_history(config, limit=5)] == everything[:5]
        assert [s async for s in client.aget_state_history(config, limit=0)] == []
        inputs = [s async for s in client.aget_state_history(config, filter={"source": "input"})]
        assert inputs == [everything[3], everything[7]]
        for index in range(8):
            older = [s async for s in client.aget_state_history(config, before=everything[index].config)]
            assert older == everything[index + 1 :]
            assert await client.aget_state(everything[index].config) == everything[index]
            only = [s async for s in client.aget_state_history(everything[index].config)]
            assert only == [everything[index]]
        with pytest.raises(StepgraphError, match="limit must be 0 or more"):
            [s async for s in client.aget_state_history(config, limit=-1)]


@pytest.mark.parametrize("on_busy", ["enqueue", "cancel"])
async def test_an_invoke_may_wait_for_its_turn_or_take_it(stage: Stage, on_busy: Any) -> None:
    """Queued, it starts when the thread stands still; else the running nodes are stopped, and what finished is kept."""
    told: list[str] = []
    go_on = asyncio.Event()

    async def slow(state: Log) -> dict[str, Any]:
        told.append("begun")
        try:
            await go_on.wait()
        except asyncio.CancelledError:
            told.append("stopped")
            raise
        return {"lines": ["slow"]}

    graph = chain(Log, {"first": lambda s: {"lines": ["first"]}, "slow": slow}, name="turns", heartbeat_timeout=0.6)
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        running = await client.astart({"lines": ["a"]}, config)
        while told != ["begun"]:
            await asyncio.sleep(0.02)
        second = asyncio.ensure_future(client.ainvoke({"lines": ["b"]}, config, on_busy=on_busy))
        if on_busy == "cancel":
            while "stopped" not in told:
                await asyncio.sleep(0.02)
            assert (await running.record()).values["lines"] == ["a", "first"]
        else:
            await asyncio.sleep(0.3)
            assert told == ["begun"]
        go_on.set()
        kept = ["a", "first", *([] if on_busy == "cancel" else ["slow"])]
        assert (await second)["lines"] == [*kept, "b", "first", "slow"]
