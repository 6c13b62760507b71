"""A thread has one writer, however many clients there are."""

from __future__ import annotations

import asyncio
from operator import add
from typing import Annotated, Any, TypedDict

import pytest

from stepgraph.errors import StepgraphError, ThreadBusyError
from stepgraph.protocol.snapshot import config_for
from tests.conftest import Stage
from tests.patience import eventually
from tests.temporal.graphs import chain
from tests.temporal.web_ui import details_page


class Log(TypedDict):
    lines: Annotated[list[str], add]


async def test_a_second_invoke_on_a_running_thread_is_refused(stage: Stage) -> None:
    """The error of a second input names the run, which goes on, and the ways on for its caller."""
    go_on = asyncio.Event()

    async def slow(state: Log) -> dict[str, Any]:
        await go_on.wait()
        return {"lines": ["slow"]}

    graph = chain(Log, {"slow": slow}, name="busy")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        first = await client.astart({"lines": ["first"]}, config)
        with pytest.raises(ThreadBusyError, match="is running") as caught:
            await client.ainvoke({"lines": ["second"]}, config)
        assert caught.value.run_id == first.run_id
        for way_on in ("invoke(None, config)", 'on_busy="enqueue"', 'on_busy="cancel"', "another thread id"):
            assert way_on in str(caught.value)
        attached = await client.aget_run(config)
        assert attached is not None
        go_on.set()
        assert await attached.result() == await first.result() == {"lines": ["first", "slow"]}


@pytest.mark.parametrize("existing", [False, True])
async def test_of_many_invokes_at_once_one_is_accepted(stage: Stage, existing: bool) -> None:
    """Of many invokes at once, all but one are refused, and no input is applied to an outdated record."""
    graph = chain(Log, {"node": lambda state: {"lines": ["ran"]}}, name="race")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        if existing:
            await client.ainvoke({"lines": ["before"]}, config)
        results = await asyncio.gather(
            *(client.ainvoke({"lines": [str(n)]}, config) for n in range(12)), return_exceptions=True
        )
        accepted = [result for result in results if isinstance(result, dict)]
        refused = [result for result in results if isinstance(result, ThreadBusyError)]
        assert len(accepted) + len(refused) == 12
        assert accepted
        final = (await client.aget_state(config)).values["lines"]
        before = ["before", "ran"] if existing else []
        assert final[: len(before)] == before
        ran = final[len(before) :]
        assert ran[1::2] == ["ran"] * len(accepted), "the node ran after each accepted input, on the state before it"
        assert len({*ran[::2]}) == len(accepted)


async def test_many_threads_at_once_do_not_mix(stage: Stage) -> None:
    """Fifty threads on one worker have each their own values and history."""

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
async def test_a_thread_id_may_have_its_maximum_length(stage: Stage, thread_id: str) -> None:
    """The server takes the longest thread id as a workflow id, and as a search attribute: the origin of a fork."""
    graph = chain(Log, {"node": lambda state: {"lines": ["ran"]}}, name="long-named")
    client, config, fork = stage.use(graph), config_for(thread_id), stage.thread()
    stage.threads.append(thread_id)
    async with stage.serving(graph):
        assert await client.ainvoke({"lines": []}, config) == {"lines": ["ran"]}
        await client.afork(config, {"lines": ["more"]}, thread_id=fork["configurable"]["thread_id"])
        assert await eventually(lambda: client.aget_forks(config)) == [fork]  # visibility lags


async def test_further_inputs_go_on_with_the_thread(stage: Stage) -> None:
    """After a further input, steps and values go on. On an unfinished thread, it discards the pending tasks."""
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
        steps = [
            (s.metadata["step"], s.metadata["source"], len(s.values.get("lines", []))) for s in history if s.metadata
        ]
        assert steps == [
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


async def test_resuming_a_finished_thread_returns_its_values(stage: Stage) -> None:
    """Resuming a finished thread starts no run, and needs no worker."""
    graph = chain(Log, {"node": lambda state: {"lines": ["ran"]}}, name="done")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        result = await client.ainvoke({"lines": []}, config)
    assert await client.ainvoke(None, config) == result == {"lines": ["ran"]}
    assert len(await stage.runs(config["configurable"]["thread_id"])) == 1


async def test_a_history_can_be_read_in_parts(stage: Stage) -> None:
    """A history takes a limit, a filter by metadata, and a checkpoint to begin before; also across runs."""
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


@pytest.mark.usefixtures("frequent_heartbeats")
@pytest.mark.parametrize("on_busy", ["enqueue", "cancel"])
async def test_an_invoke_on_a_running_thread_may_be_queued_or_cancel_it(stage: Stage, on_busy: Any) -> None:
    """A queued input begins when the thread is idle; otherwise the running nodes stop, and finished tasks are kept."""
    events: list[str] = []
    go_on = asyncio.Event()

    async def slow(state: Log) -> dict[str, Any]:
        events.append("begun")
        try:
            await go_on.wait()
        except asyncio.CancelledError:
            events.append("stopped")
            raise
        return {"lines": ["slow"]}

    graph = chain(Log, {"first": lambda s: {"lines": ["first"]}, "slow": slow}, name="turns")
    client, config = stage.use(graph), stage.thread()

    async def is_queued() -> bool:
        return "Queued inputs: 1" in await details_page(stage, config)

    async with stage.serving(graph):
        running = await client.astart({"lines": ["a"]}, config)
        await eventually(lambda: events == ["begun"])
        second = asyncio.ensure_future(client.ainvoke({"lines": ["b"]}, config, on_busy=on_busy))
        if on_busy == "cancel":
            await eventually(lambda: "stopped" in events)
            assert (await running.record()).values["lines"] == ["a", "first"]
        else:
            await eventually(is_queued)
            assert events == ["begun"]
        go_on.set()
        before = ["a", "first", *([] if on_busy == "cancel" else ["slow"])]
        assert (await second)["lines"] == [*before, "b", "first", "slow"]
