"""Callers of a server that has gone, and readers of damaged records, get errors of stepgraph's."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from operator import add
from typing import Annotated, Any, TypedDict

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.converter import PayloadCodec
from temporalio.service import RPCError, RPCStatusCode

from stepgraph import GraphClient, interrupt
from stepgraph.errors import ServerError
from stepgraph.temporal.executions import latest_run
from tests.conftest import Stage, dev_server
from tests.patience import PATIENCE, eventually
from tests.temporal.graphs import chain


class Log(TypedDict):
    lines: Annotated[list[str], add]


async def test_a_server_that_has_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call tells which server does not answer, that what was done is kept, and how to go on."""
    async with dev_server() as environment:
        address = environment.client.service_client.config.target_host
        client = GraphClient(await Client.connect(address), "gone", check_workers=False)
        config = {"configurable": {"thread_id": "t1"}}
        run = await client.astart({"lines": []}, config)
        waiting = asyncio.ensure_future(run.result())
        await asyncio.wait([waiting], timeout=0.3)

    async def history() -> Any:
        return [snapshot async for snapshot in client.aget_state_history(config)]

    async def watch() -> Any:
        return [snapshot async for snapshot in run.watch()]

    calls = [
        waiting,
        client.ainvoke({"lines": []}, config),
        client.aget_state(config),
        client.aupdate_state(config, {"lines": []}),
        client.afork(config),
        history(),
        watch(),
        run.has_worker(),
    ]
    for error in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(error, ServerError), repr(error)
        assert address in str(error)
        assert "is kept" in str(error)
        assert "invoke(None, config) joins" in str(error)


async def test_a_cancelled_wait_is_a_cancelled_task(stage: Stage) -> None:
    """Whatever a call waits for, its cancel is asyncio's."""
    graph = chain(Log, {"node": lambda state: None}, name="unserved")
    client = GraphClient(stage.client, graph.name, task_queue=stage.task_queue, check_workers=False)
    config = stage.thread()
    run = await client.astart({"lines": []}, config)
    calls = [
        asyncio.ensure_future(call)
        for call in (
            client.ainvoke({"lines": []}, config, on_busy="enqueue"),
            client.aupdate_state(config, {"lines": []}, as_node="human"),
            run.result(),
        )
    ]
    await asyncio.wait(calls, timeout=1)
    for call in calls:
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    await stage.client.get_workflow_handle(run.thread_id).terminate()
    stage.threads.clear()


class DamagingCodec(PayloadCodec):
    """Damages every record that is read. Other payloads are as they are."""

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Return the payloads."""
        return list(payloads)

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Return the payloads, records without their checkpoint."""
        return [
            Payload(metadata=each.metadata, data=each.data.replace(b'"checkpoint":{', b'"checkpoint":5,"more":{'))
            if each.data.startswith(b'{"v":1,"values"')
            else each
            for each in payloads
        ]


@pytest.mark.parametrize("how", ["result", "details"])
async def test_a_damaged_record_is_made_anew(stage: Stage, how: str) -> None:
    """A reader, and the worker that opens the next run, replay a run whose record cannot be read. Nothing is lost."""
    fail = [how == "details"]

    def node(state: Log) -> dict[str, Any]:
        if fail[0]:
            raise ConnectionError("no route")
        return {"lines": ["ran"]}

    graph = chain(Log, {"first": lambda state: {"lines": ["first"]}, "node": node}, name="damaged")
    config = stage.thread()
    converter = replace(stage.client.data_converter, payload_codec=DamagingCodec())
    address = stage.client.service_client.config.target_host
    damaging = await Client.connect(address, data_converter=converter)
    async with stage.serving(graph):
        try:
            await stage.use(graph).ainvoke({"lines": ["a"]}, config)
        except ConnectionError:
            fail[0] = False
        expected = await stage.use(graph).aget_state(config)
    stage.client = damaging
    client = stage.use(graph)
    assert (await client.aget_state(config)).values == expected.values
    async with stage.serving(graph):
        result = await client.astart(None if how == "details" else {"lines": ["b"]}, config)
        await eventually(lambda: _has_ended(client, config))
        assert result.thread_id == config["configurable"]["thread_id"]
        more = ["ran"] if how == "details" else ["b", "first", "ran"]
        assert (await client.aget_state(config)).values["lines"] == [*expected.values["lines"], *more]


async def _has_ended(client: GraphClient, config: dict[str, Any]) -> bool:
    run = await latest_run(client.client, config["configurable"]["thread_id"])
    return run is not None and not run.is_open


async def test_a_wait_that_is_cancelled_ends(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request may report its own cancellation as an error of the server, which must not keep the wait going.

    The request is replaced: the SDK does so only at certain moments.
    """
    reading = asyncio.Event()

    async def read_idle_record(*_: Any) -> None:
        reading.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise RPCError("operation was canceled", RPCStatusCode.CANCELLED, b"") from None

    monkeypatch.setattr("stepgraph.client.graph_run.read_idle_record", read_idle_record)
    graph = chain(Log, {"ask": lambda state: {"lines": [interrupt("?")]}}, name="asks")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        run = await client.astart({"lines": ["x" * 10_000]}, config)
        waiting = asyncio.ensure_future(run.result())
        await asyncio.wait_for(reading.wait(), PATIENCE)
        waiting.cancel()
        done, _ = await asyncio.wait([waiting], timeout=PATIENCE)
        assert done
        assert waiting.cancelled()
