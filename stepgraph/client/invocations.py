"""Invokes and resumes threads: by an update to the open run, or by starting the next run of a closed or new thread.

The functions return as soon as the server has accepted the request. `GraphRun.result` waits for the outcome.
"""

from __future__ import annotations

from typing import Any

from stepgraph.client.command_sender import deliver
from stepgraph.client.graph_run import FinishedRun, GraphRun
from stepgraph.client.graph_threads import Threads
from stepgraph.errors import ThreadBusyError
from stepgraph.protocol.commands import InvokeCommand, ResumeCommand
from stepgraph.protocol.config import RunConfig
from stepgraph.protocol.thread_errors import (
    NOTHING_TO_REPLAY,
    NOTHING_TO_RESUME,
    NOTHING_WAITS,
    no_such_thread,
    nothing_to_resume,
)
from stepgraph.temporal.executions import Run
from stepgraph.temporal.run_outcome import outcome_of


async def invoke_thread(threads: Threads, config: RunConfig, command: InvokeCommand) -> GraphRun:
    """Run a thread with an input, resume or join it without one, or replay it from a checkpoint.

    A running thread does what ``command.on_busy`` says: it refuses the input or puts it into its input queue.

    Raises:
        ThreadBusyError: the thread is running and ``on_busy`` is ``"refuse"``, or its input queue is full.
        EmptyInputError: there is no input, and nothing to resume or replay.
    """
    if command.input is None and command.checkpoint_id is None and command.on_busy != "cancel":
        return await _resume_or_join(threads, config, command.model_copy(update={"on_busy": "refuse"}))

    async def start(latest: Run | None, id: str) -> GraphRun | None:
        return await _start(threads, config, command, after=latest, caller=id)

    waits = command.on_busy != "refuse"
    taken = await deliver(threads, config.thread_id, "invoke", command, start=start, waits_its_turn=waits)
    return threads.run_that_took(taken, config.thread_id)


async def _resume_or_join(threads: Threads, config: RunConfig, command: InvokeCommand) -> GraphRun:
    """Go on from the head of an idle thread. Of a running one, return the run that is under way.

    A run that is under way refuses the command without a trace in its history: joining it changes nothing.
    """

    async def start(latest: Run | None, id: str) -> GraphRun | None:
        return await _start(threads, config, command, after=latest, caller=id)

    try:
        taken = await deliver(threads, config.thread_id, "invoke", command, start=start)
    except ThreadBusyError as busy:
        if busy.parts.get("run_id") is None:
            raise
        return threads.graph_run(config.thread_id, busy.run_id)
    return threads.run_that_took(taken, config.thread_id)


async def _start(
    threads: Threads, config: RunConfig, command: InvokeCommand, *, after: Run | None, caller: str
) -> GraphRun | None:
    """Start the next run of a thread for an invoke; a finished thread with nothing to resume needs none."""
    input_data = command.input
    options: dict[str, Any] = {
        "caller": caller,
        "interrupt_before": command.interrupt_before,
        "interrupt_after": command.interrupt_after,
        "durability": command.durability,
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
        return FinishedRun(threads.client, record, threads.schema)
    if input_data is None and record is None:
        raise nothing_to_resume(config.thread_id, (await outcome_of(threads.client, after)).reason)
    return await threads.start(config, input_data, after=after, **options)


async def resume_thread(threads: Threads, config: RunConfig, command: ResumeCommand) -> GraphRun:
    """Answer the interrupts of a thread whose run is open, or of one whose run was ended from outside.

    Raises:
        EmptyInputError: the thread does not exist.
        InvalidUpdateError: no interrupt waits.
    """

    async def start(latest: Run | None, id: str) -> GraphRun | None:
        if latest is None:
            raise no_such_thread(config.thread_id, NOTHING_WAITS)
        durability = command.durability
        return await threads.start(config, None, after=latest, caller=id, resume=command, durability=durability)

    taken = await deliver(threads, config.thread_id, "resume", command, start=start)
    return threads.run_that_took(taken, config.thread_id)
