"""Invokes and resumes threads: by an update to the open run, or by starting the next run of a closed or new thread.

The functions return as soon as the server has accepted the request. `GraphRun.result` waits for the outcome.
"""

from __future__ import annotations

from typing import Any

from stepgraph.client.command_sender import send_command
from stepgraph.client.graph_run import FinishedRun, GraphRun, QueuedRun
from stepgraph.client.graph_threads import Threads
from stepgraph.errors import ThreadBusyError
from stepgraph.protocol.commands import InvokeCommand, ResumeCommand
from stepgraph.protocol.config import RunConfig
from stepgraph.protocol.thread_errors import (
    NOTHING_TO_REPLAY,
    NOTHING_TO_RESUME,
    NOTHING_WAITS,
    no_such_thread,
)
from stepgraph.temporal.executions import Run


async def invoke_thread(threads: Threads, config: RunConfig, command: InvokeCommand) -> GraphRun:
    """Run a thread with an input, resume it without one, or replay it from a checkpoint.

    A running thread does what ``command.on_busy`` says: it refuses the input or puts it into its input queue.

    Raises:
        ThreadBusyError: the thread is running and ``on_busy`` is ``"refuse"``, or its input queue is full.
        EmptyInputError: there is no input, and nothing to resume or replay.
    """
    while True:
        latest = await threads.latest(config.thread_id)
        if latest is not None and latest.is_open:
            answer = await send_command(threads.client, latest, "invoke", command)
            if answer is None:
                continue  # the run has ended since it was described
            if (queued_input_id := answer.get("queued_input_id")) is None:
                return threads.graph_run(latest, head=answer["configurable"]["checkpoint_id"])
            return QueuedRun(
                threads.client, latest.thread_id, latest.run_id, threads.channels, queued_input_id=queued_input_id
            )
        try:
            return await _start(threads, config, command, after=latest)
        except ThreadBusyError:  # another client has started the next run meanwhile
            if command.on_busy == "refuse":
                raise


async def _start(threads: Threads, config: RunConfig, command: InvokeCommand, *, after: Run | None) -> GraphRun:
    """Start the next run of a thread for an invoke; a finished thread with nothing to resume needs none."""
    input_data = command.input
    options: dict[str, Any] = {
        "interrupt_before": command.interrupt_before,
        "interrupt_after": command.interrupt_after,
        "types": command.types,
    }
    if command.checkpoint_id is not None:
        if after is None:
            raise no_such_thread(config.thread_id, NOTHING_TO_REPLAY)
        return await threads.start(config, None, after=after, fork=command.as_fork(), **options)
    if after is None:
        if input_data is None:
            raise no_such_thread(config.thread_id, NOTHING_TO_RESUME)
        return await threads.start(config, input_data, after=None, **options)
    record = await threads.record_after(after, needed=input_data is None)
    if input_data is None and record is not None and not record.next:
        return FinishedRun(threads.client, record, threads.channels)
    return await threads.start(config, input_data, after=after, **options)


async def resume_thread(threads: Threads, config: RunConfig, command: ResumeCommand) -> GraphRun:
    """Answer the interrupts of a thread whose run is open, or of one whose run was ended from outside.

    Raises:
        EmptyInputError: the thread does not exist.
    """
    latest = await threads.latest(config.thread_id)
    if latest is None:
        raise no_such_thread(config.thread_id, NOTHING_WAITS)
    if latest.is_open:
        if (answer := await send_command(threads.client, latest, "resume", command)) is not None:
            return threads.graph_run(latest, head=answer["configurable"]["checkpoint_id"])
        latest = await threads.latest(config.thread_id)
    return await threads.start(config, None, after=latest, resume=command)
