"""Updates and forks: by the open run of a thread, or by the next one, started for them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any, Literal

from temporalio.client import WorkflowQueryFailedError
from temporalio.service import RPCError

from stepgraph.client.command_sender import send_command
from stepgraph.client.graph_run import GraphRun
from stepgraph.client.graph_threads import Threads
from stepgraph.client.thread_reader import head_of, record_left_by
from stepgraph.errors import ThreadBusyError
from stepgraph.protocol.commands import UpdateCommand
from stepgraph.protocol.config import RunConfig
from stepgraph.protocol.names import CHECK
from stepgraph.protocol.queries import CheckRequest
from stepgraph.protocol.snapshot import config_for
from stepgraph.protocol.thread_errors import no_such_thread, nothing_to_fork, thread_exists
from stepgraph.temporal.executions import Run, latest_run
from stepgraph.temporal.records import ask, run_holding


async def update(threads: Threads, config: RunConfig, command: UpdateCommand) -> dict[str, Any]:
    """Makes an update; the config of the checkpoint that came of it."""
    while True:
        latest = await threads.latest(config.thread_id)
        if latest is not None and latest.is_open:
            made = await send_command(threads.client, latest, "update", command)
            if made is not None:
                return made
            continue  # it ended while it was asked
        await threads.make_sure_it_is_served()
        await _check(threads, latest, "update", command)
        with suppress(ThreadBusyError):  # somebody was faster: now it is open
            run = await threads.start(config, None, after=latest, update=command)
            record = await run.record()
            return config_for(record.thread_id, record.checkpoint.id)


async def fork(threads: Threads, config: RunConfig, command: UpdateCommand) -> GraphRun:
    """Forks a thread on itself. Not awaited here."""
    latest = await threads.latest(config.thread_id)
    if latest is None:
        raise no_such_thread(config.thread_id, "so there is nothing to run again.")
    if latest.is_open:
        if (made := await send_command(threads.client, latest, "fork", command)) is not None:
            return threads.run(latest, head=made["configurable"]["checkpoint_id"])
        latest = await threads.latest(config.thread_id)
    await threads.make_sure_it_is_served()
    await _check(threads, latest, "fork", command)
    return await threads.start(config, None, after=latest, fork=command)


async def fork_onto(threads: Threads, source: RunConfig, thread_id: str, command: UpdateCommand) -> GraphRun:
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
        raise thread_exists(thread_id)
    command = command.model_copy(update={"checkpoint_id": checkpoint_id, "thread_id": source.thread_id})
    await threads.make_sure_it_is_served()
    await _check(threads, latest, "fork", command)
    grown = replace(source, thread_id=thread_id, checkpoint_id=None)
    return await threads.start(grown, None, after=before, fork=command)


async def _check(threads: Threads, latest: Run | None, kind: Literal["update", "fork"], command: UpdateCommand) -> None:
    """Refuses what can be seen to be wrong before a run is started for it; what cannot, that run refuses.

    A worker answers, for it has the graph's code. One that cannot (it is too slow, or the history too old for its code)
    leaves it to the run.
    """
    if command.checkpoint_id is not None and latest is not None:
        latest = await run_holding(threads.client, latest.thread_id, command.checkpoint_id)
    if latest is None or latest.ended_externally:
        return
    asked = CheckRequest(kind=kind, command=command).model_dump(mode="json")
    with suppress(RPCError, WorkflowQueryFailedError):
        await ask(threads.client, latest, CHECK, asked)
