"""Updates and forks threads: by an update to the open run, or by starting the next run of a closed or new thread.

A fork returns as soon as the server has accepted it. `GraphRun.result` waits for the outcome.
"""

from __future__ import annotations

import asyncio
import uuid
from contextlib import suppress
from dataclasses import replace
from typing import Literal

from temporalio.client import WorkflowQueryFailedError
from temporalio.service import RPCError

from stepgraph.client.command_sender import deliver
from stepgraph.client.graph_run import GraphRun
from stepgraph.client.graph_threads import Threads
from stepgraph.client.thread_reader import read_closed_record, read_head
from stepgraph.protocol.commands import CommandAnswer, UpdateCommand
from stepgraph.protocol.config import RunConfig, RunnableConfig
from stepgraph.protocol.names import CHECK
from stepgraph.protocol.queries import CheckRequest
from stepgraph.protocol.snapshot import config_for
from stepgraph.protocol.thread_errors import (
    NOTHING_TO_REPLAY,
    no_such_thread,
    nothing_to_fork,
    thread_exists,
)
from stepgraph.temporal.executions import Run, latest_run
from stepgraph.temporal.records import query_run, run_holding

CHECK_SECONDS = 3.0
"""How long to wait for the answer of a worker, which the server may list for minutes after it has died."""


async def update_thread(threads: Threads, config: RunConfig, command: UpdateCommand) -> RunnableConfig:
    """Apply an update to a thread, and return the config of the checkpoint that it made."""

    async def start(latest: Run | None, id: str) -> RunnableConfig | None:
        await threads.require_worker()
        await _check_by_query(threads, latest, "update", command)
        run = await threads.start(config, None, after=latest, caller=id, update=command)
        if run is None:
            return None
        record = await run.record()
        return config_for(record.thread_id, record.checkpoint.id)

    taken = await deliver(threads, config.thread_id, "update", command, start=start)
    if isinstance(taken, CommandAnswer):
        return RunnableConfig(configurable=taken.configurable or {})
    return taken


async def fork_thread(threads: Threads, config: RunConfig, command: UpdateCommand) -> GraphRun:
    """Fork a thread on itself, and return the run that executes the fork.

    Raises:
        EmptyInputError: the thread does not exist.
    """

    async def start(latest: Run | None, id: str) -> GraphRun | None:
        if latest is None:
            raise no_such_thread(config.thread_id, NOTHING_TO_REPLAY)
        await threads.require_worker()
        await _check_by_query(threads, latest, "fork", command)
        return await threads.start(config, None, after=latest, caller=id, fork=command)

    taken = await deliver(threads, config.thread_id, "fork", command, start=start)
    return threads.run_that_took(taken, config.thread_id)


async def fork_to_new_thread(threads: Threads, source: RunConfig, thread_id: str, command: UpdateCommand) -> GraphRun:
    """Start a new thread from a checkpoint of another, and return its first run. The source does not change.

    Args:
        threads: the threads of the graph.
        source: names the thread to fork, and the checkpoint; the head by default.
        thread_id: the new thread's id.
        command: the update that the new thread begins with.

    Raises:
        ThreadError: the new thread exists already, or the source has no checkpoint.
    """
    latest = await threads.latest(source.thread_id)
    checkpoint_id = source.checkpoint_id
    if checkpoint_id is None and latest is not None:
        head = await read_head(threads.client, latest)
        checkpoint_id = head["config"]["configurable"]["checkpoint_id"] if head is not None else None
    if checkpoint_id is None:
        raise nothing_to_fork(source.thread_id)
    # A run under the new id that left no record was refused at its start: such a thread does not count as existing.
    previous = await latest_run(threads.client, thread_id)
    if previous is not None and (previous.is_open or await read_closed_record(threads.client, previous) is not None):
        raise thread_exists(thread_id)
    command = command.model_copy(update={"checkpoint_id": checkpoint_id, "thread_id": source.thread_id})
    await threads.require_worker()
    await _check_by_query(threads, latest, "fork", command)
    target = replace(source, thread_id=thread_id, checkpoint_id=None)
    run = await threads.start(target, None, after=previous, caller=uuid.uuid4().hex, fork=command)
    if run is None:  # the server's answer was lost, and the new run has been followed by another
        raise thread_exists(thread_id)
    return run


async def _check_by_query(
    threads: Threads, latest: Run | None, kind: Literal["update", "fork"], command: UpdateCommand
) -> None:
    """Raise the error of a command that is known to be wrong before a run is started for it.

    A worker answers the query, since it has the spec that the next run will be started with. If none answers in
    `CHECK_SECONDS`, the started run checks the command.
    """
    if command.checkpoint_id is not None and latest is not None:
        latest = await run_holding(threads.client, latest.thread_id, command.checkpoint_id)
    if latest is None or latest.ended_externally:
        return
    request = CheckRequest(kind=kind, command=command).model_dump(mode="json")
    with suppress(RPCError, WorkflowQueryFailedError, TimeoutError):
        async with asyncio.timeout(CHECK_SECONDS):
            await query_run(threads.client, latest, CHECK, request)
