"""Invocations: an input, a resume, a replay or an answer, on a thread that is open, at rest or new."""

from __future__ import annotations

from typing import Any

from stepgraph.client.command_sender import send_command
from stepgraph.client.graph_run import FinishedRun, GraphRun, QueuedRun
from stepgraph.client.graph_threads import Threads
from stepgraph.errors import ThreadBusyError
from stepgraph.protocol.commands import InvokeCommand, ResumeCommand
from stepgraph.protocol.config import RunConfig
from stepgraph.protocol.thread_errors import no_such_thread
from stepgraph.temporal.executions import Run


async def invoke(threads: Threads, config: RunConfig, command: InvokeCommand) -> GraphRun:
    """Has a thread do what is asked: at once where it stands still, otherwise as ``on_busy`` says. Not awaited here."""
    while True:
        latest = await threads.latest(config.thread_id)
        if latest is not None and latest.is_open:
            answer = await send_command(threads.client, latest, "invoke", command)
            if answer is None:
                continue  # it ended while it was asked
            if (queued_input_id := answer.get("queued_input_id")) is None:
                return threads.run(latest, head=answer["configurable"]["checkpoint_id"])
            return QueuedRun(
                threads.client, latest.thread_id, latest.run_id, threads.channels, queued_input_id=queued_input_id
            )
        try:
            return await _start(threads, config, command, after=latest)
        except ThreadBusyError:  # another client was faster
            if command.on_busy == "refuse":
                raise


async def _start(threads: Threads, config: RunConfig, command: InvokeCommand, *, after: Run | None) -> GraphRun:
    given = command.input
    breaks: dict[str, Any] = {"interrupt_before": command.interrupt_before, "interrupt_after": command.interrupt_after}
    if command.checkpoint_id is not None:
        if after is None:
            raise no_such_thread(config.thread_id, "so there is nothing to run again.")
        return await threads.start(config, None, after=after, fork=command.as_fork(), **breaks)
    if after is None:
        if given is None:
            raise no_such_thread(config.thread_id, "so there is nothing to resume. Start it with an input.")
        return await threads.start(config, given, after=None, **breaks)
    record = await threads.record_after(after, needed=given is None)
    if given is None and record is not None and not record.next:
        return FinishedRun(threads.client, record, threads.channels)
    return await threads.start(config, given, after=after, **breaks)


async def answer(threads: Threads, config: RunConfig, command: ResumeCommand) -> GraphRun:
    """Answers the interrupts of a thread that waits, or of one whose run was ended from outside. Not awaited here."""
    latest = await threads.latest(config.thread_id)
    if latest is None:
        raise no_such_thread(config.thread_id, "so nothing waits for an answer.")
    if latest.is_open:
        if (made := await send_command(threads.client, latest, "resume", command)) is not None:
            return threads.run(latest, head=made["configurable"]["checkpoint_id"])
        latest = await threads.latest(config.thread_id)
    return await threads.start(config, None, after=latest, resume=command)
