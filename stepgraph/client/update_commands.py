"""Updates and forks: by the open run of a thread, or by the next one, started for them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any, Literal

from temporalio.client import WorkflowQueryFailedError
from temporalio.service import RPCError

from stepgraph.client.command_sender import order_from_open
from stepgraph.client.graph_run import GraphRun
from stepgraph.client.graph_threads import Threads
from stepgraph.client.thread_reader import head_of, record_left_by
from stepgraph.errors import ThreadBusyError
from stepgraph.protocol.config import RunConfig
from stepgraph.protocol.snapshot import config_for
from stepgraph.protocol.thread_errors import already_there, nothing_there, nothing_to_fork
from stepgraph.protocol.wire import CHECK, CheckRequest, Order
from stepgraph.temporal.executions import Run, ask, latest_run, run_holding


async def update(threads: Threads, config: RunConfig, order: Order) -> dict[str, Any]:
    """Makes an update; the config of the checkpoint that came of it."""
    while True:
        latest = await threads.latest(config.thread_id)
        if latest is not None and latest.is_open:
            made = await order_from_open(threads.client, latest, "update", order)
            if made is not None:
                return made
            continue  # it ended while it was asked
        await threads.make_sure_it_is_served()
        await _check(threads, latest, "update", order)
        with suppress(ThreadBusyError):  # somebody was faster: now it is open
            run = await threads.start(config, None, after=latest, update=order)
            record = await run.record()
            return config_for(record.thread_id, record.checkpoint.id)


async def fork(threads: Threads, config: RunConfig, order: Order) -> GraphRun:
    """Forks a thread on itself. Not awaited here."""
    latest = await threads.latest(config.thread_id)
    if latest is None:
        raise nothing_there(config, "so there is nothing to run again.")
    if latest.is_open:
        if (made := await order_from_open(threads.client, latest, "fork", order)) is not None:
            return threads.run(latest, head=made["configurable"]["checkpoint_id"])
        latest = await threads.latest(config.thread_id)
    await threads.make_sure_it_is_served()
    await _check(threads, latest, "fork", order)
    return await threads.start(config, None, after=latest, fork=order)


async def fork_onto(threads: Threads, source: RunConfig, thread_id: str, order: Order) -> GraphRun:
    """Starts a new thread that grows from a checkpoint of another. Not awaited here."""
    latest = await threads.latest(source.thread_id)
    checkpoint_id = source.checkpoint_id
    if checkpoint_id is None and latest is not None:
        head = await head_of(threads.client, latest)
        checkpoint_id = head["config"]["configurable"]["checkpoint_id"] if head is not None else None
    if checkpoint_id is None:
        raise nothing_to_fork(source.thread_id)
    before = await latest_run(threads.client, thread_id)
    if before is not None and (before.is_open or await record_left_by(threads.client, before) is not None):
        raise already_there(thread_id)
    order = order.model_copy(update={"checkpoint_id": checkpoint_id, "thread_id": source.thread_id})
    await threads.make_sure_it_is_served()
    await _check(threads, latest, "fork", order)
    grown = replace(source, thread_id=thread_id, checkpoint_id=None)
    return await threads.start(grown, None, after=before, fork=order)


async def _check(threads: Threads, latest: Run | None, kind: Literal["update", "fork"], order: Order) -> None:
    """Refuses what can be seen to be wrong before a run is started for it; what cannot, that run refuses.

    A worker answers, for it has the graph's code. One that cannot (it is too slow, or the history too old for its code)
    leaves it to the run.
    """
    if order.checkpoint_id is not None and latest is not None:
        latest = await run_holding(threads.client, latest.thread_id, order.checkpoint_id)
    if latest is None or latest.ended_from_outside:
        return
    asked = CheckRequest(kind=kind, order=order).model_dump(mode="json")
    with suppress(RPCError, WorkflowQueryFailedError):
        await ask(threads.client, latest, CHECK, asked)
