"""Faults of stepgraph itself: a run that meets one ends, every caller has an answer, and the thread goes on."""

from __future__ import annotations

import asyncio
from operator import add
from typing import Annotated, Any, TypedDict

import pytest

from stepgraph.drive import commit_step as committing
from stepgraph.engine.record import Record
from stepgraph.errors import StepgraphError
from stepgraph.protocol.names import UPDATE_STATE
from stepgraph.protocol.start_options import StartOptions
from stepgraph.temporal.payloads import to_raw
from tests.conftest import Stage
from tests.patience import eventually
from tests.temporal.graphs import chain


class Log(TypedDict):
    log: Annotated[list[str], add]


async def test_a_fault_answers_every_caller_and_keeps_the_thread(monkeypatch: pytest.MonkeyPatch, stage: Stage) -> None:
    """The caller of the run gets the fault. An update that waits is sent again, and the thread's next run takes it."""
    go_on = asyncio.Event()

    async def wait(state: Log) -> dict[str, Any]:
        await go_on.wait()
        return {"log": ["waited"]}

    graph = chain(Log, {"wait": wait}, name="faulty")
    client, config = stage.use(graph), stage.thread()
    thread_id = config["configurable"]["thread_id"]
    broken = [thread_id]

    async def commit_step(thread: Any, *arguments: Any) -> Any:
        if broken and thread.next_step == 2 and thread.run_id == broken[-1]:
            raise ZeroDivisionError("a fault")
        return await committing.commit_step(thread, *arguments)

    monkeypatch.setattr("stepgraph_workflows.run_loop.commit_step", commit_step)
    async with stage.serving(graph):
        run = await client.astart({"log": []}, config)
        broken.append(run.run_id)
        result = asyncio.ensure_future(run.result())
        update = asyncio.ensure_future(client.aupdate_state(config, {"log": ["more"]}, as_node="human"))

        async def accepted() -> bool:
            return UPDATE_STATE in await stage.accepted_updates(thread_id)

        await eventually(accepted)
        go_on.set()
        with pytest.raises(StepgraphError, match="fault in stepgraph: ZeroDivisionError: a fault"):
            await result
        await update
        assert (await client.aget_state(config)).next == ("wait",)
        assert (await client.ainvoke(None, config))["log"] == ["more", "waited"]


async def test_queued_inputs_begin_although_a_record_cannot_be_encoded(
    monkeypatch: pytest.MonkeyPatch, stage: Stage
) -> None:
    """The caller of the run gets the fault. The inputs that wait begin, on the record of the run before."""
    go_on = asyncio.Event()
    go_on.set()

    async def wait(state: Log) -> dict[str, Any]:
        await go_on.wait()
        return {"log": [f"{state['log'][-1]}+"]}

    graph = chain(Log, {"wait": wait}, name="faulty")
    client, config = stage.use(graph), stage.thread()
    broken: list[str] = []

    def encode(value: Any, **options: Any) -> Any:
        continued = value.continued if isinstance(value, StartOptions) else None
        record = value if isinstance(value, Record) else continued and continued.record
        if record is not None and record.run_id in broken:
            raise ValueError("a fault")
        return to_raw(value, **options)

    monkeypatch.setattr("stepgraph_workflows.run_end.to_raw", encode)
    async with stage.serving(graph):
        await client.ainvoke({"log": ["a"]}, config)
        go_on.clear()
        run = await client.astart({"log": ["b"]}, config)
        broken.append(run.run_id)
        queued = [await client.astart({"log": [line]}, config, on_busy="enqueue") for line in ("c", "d")]
        go_on.set()
        with pytest.raises(StepgraphError, match="fault in stepgraph: ValueError: a fault"):
            await run.result()
        assert (await queued[0].result())["log"] == ["a", "a+", "c", "c+"]
        assert (await queued[1].result())["log"] == ["a", "a+", "c", "c+", "d", "d+"]
