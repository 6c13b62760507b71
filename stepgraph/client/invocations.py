"""Invocations: an input, a resume, a replay or an answer, on a thread that is open, at rest or new."""

from __future__ import annotations

from typing import Any

from stepgraph.client.command_sender import order_from_open
from stepgraph.client.graph_run import FinishedRun, GraphRun, QueuedRun
from stepgraph.client.graph_threads import Threads
from stepgraph.engine.constants import START
from stepgraph.errors import ThreadBusyError
from stepgraph.protocol.config import RunConfig
from stepgraph.protocol.thread_errors import nothing_there
from stepgraph.protocol.wire import InvokeOrder, Order, ResumeOrder
from stepgraph.temporal.executions import Run


async def invoke(threads: Threads, config: RunConfig, order: InvokeOrder) -> GraphRun:
    """Has a thread do what is asked: at once where it stands still, otherwise as ``on_busy`` says. Not awaited here."""
    while True:
        latest = await threads.latest(config.thread_id)
        if latest is not None and latest.is_open:
            answer = await order_from_open(threads.client, latest, "invoke", order)
            if answer is None:
                continue  # it ended while it was asked
            if (ticket := answer.get("ticket")) is None:
                return threads.run(latest, head=answer["configurable"]["checkpoint_id"])
            return QueuedRun(threads.client, latest.thread_id, latest.run_id, threads.channels, ticket=ticket)
        try:
            return await _start(threads, config, order, after=latest)
        except ThreadBusyError:  # another client was faster
            if order.on_busy == "refuse":
                raise


async def _start(threads: Threads, config: RunConfig, order: InvokeOrder, *, after: Run | None) -> GraphRun:
    given = order.input
    breaks: dict[str, Any] = {"interrupt_before": order.interrupt_before, "interrupt_after": order.interrupt_after}
    if order.checkpoint_id is not None:
        if after is None:
            raise nothing_there(config, "so there is nothing to run again.")
        again = Order(values=given, as_node=None if given is None else START, checkpoint_id=order.checkpoint_id)
        return await threads.start(config, None, after=after, fork=again, **breaks)
    if after is None:
        if given is None:
            raise nothing_there(config, "so there is nothing to resume. Start it with an input.")
        return await threads.start(config, given, after=None, **breaks)
    record = await threads.record_after(after, needed=given is None)
    if given is None and record is not None and not record.next:
        return FinishedRun(threads.client, record, threads.channels)
    return await threads.start(config, given, after=after, **breaks)


async def answer(threads: Threads, config: RunConfig, order: ResumeOrder) -> GraphRun:
    """Answers the interrupts of a thread that waits, or of one whose run was ended from outside. Not awaited here."""
    latest = await threads.latest(config.thread_id)
    if latest is None:
        raise nothing_there(config, "so nothing waits for an answer.")
    if latest.is_open:
        if (made := await order_from_open(threads.client, latest, "resume", order)) is not None:
            return threads.run(latest, head=made["configurable"]["checkpoint_id"])
        latest = await threads.latest(config.thread_id)
    return await threads.start(config, None, after=latest, resume=order)
