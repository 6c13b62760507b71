"""Delivers commands to threads: to the open run by a Temporal update, to a closed thread by starting its next run.

Theory of operation. A command gets an id at its caller's first call, and keeps it however often it is sent: the id is
the update's id, or the started run's ``caller``. The thread remembers the ids of the commands it has taken
(`stepgraph.engine.taken_commands`), and answers one that is sent again with what became of the first. So whatever is
not certain to have arrived is sent again: the run may have ended meanwhile, or the server's answer may be lost.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import TypeVar

from temporalio.client import Client, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from stepgraph.client.graph_threads import Threads
from stepgraph.client.thread_reader import read_closed_record
from stepgraph.errors import StepgraphError, ThreadBusyError, from_wire
from stepgraph.protocol.commands import CommandAnswer, CommandKind, ThreadCommand
from stepgraph.protocol.names import FORK, INVOKE, RESUME, UPDATE_NOT_READY, UPDATE_STATE
from stepgraph.protocol.snapshot import config_for
from stepgraph.temporal.executions import Run
from stepgraph.temporal.payloads import from_raw, to_raw
from stepgraph.temporal.rpc import is_cancelled

T = TypeVar("T")

UPDATE_NAMES: dict[CommandKind, str] = {"update": UPDATE_STATE, "fork": FORK, "resume": RESUME, "invoke": INVOKE}

FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 2.0
"""The pauses before a command is sent again. Each is half as long again as the one before."""

NOT_READY_SECONDS = 600.0
"""How long a run may refuse a command because it opens, or applies another one: as long as a reducer may take."""

ENDED_FIRST = "AcceptedUpdateCompletedWorkflow"
"""The server's error type for an update whose run was ended from outside before it answered."""


async def deliver(
    threads: Threads,
    thread_id: str,
    kind: CommandKind,
    command: ThreadCommand,
    *,
    start: Callable[[Run | None, str], Awaitable[T | None]],
    waits_its_turn: bool = True,
) -> CommandAnswer | T:
    """Have a thread take a command, once.

    Args:
        threads: the threads of the graph.
        thread_id: the thread.
        kind: distinguishes an update from a fork, which have the same class.
        command: the command.
        start: gives the command to a thread that is closed or new, by starting its next run. Its arguments are the
            thread's latest run and the command's id. It returns `None` if it is not known whether it started one.
        waits_its_turn: whether to send the command to the run that another client has started meanwhile. Otherwise
            `ThreadBusyError` is raised.

    Returns:
        The answer of the run that took the command, or what ``start`` returns.

    Raises:
        ThreadBusyError: the thread is running and refuses the command, or another client has started the next run.
        StepgraphError: the run refuses the command.
    """
    id = uuid.uuid4().hex
    may_be_taken = False
    pause, give_up_at = FIRST_PAUSE_SECONDS, time.monotonic() + NOT_READY_SECONDS
    while True:
        latest = await threads.latest(thread_id)
        if latest is not None and latest.is_open:
            may_be_taken = True
            if (answer := await _send(threads.client, latest, kind, command, id)) is not None:
                return answer
        elif may_be_taken and latest is not None and (answer := await _taken_before(threads.client, latest, id)):
            return answer
        else:
            try:
                if (started := await start(latest, id)) is not None:
                    return started
            except ThreadBusyError:
                if not waits_its_turn:
                    raise
            may_be_taken = True
        if time.monotonic() > give_up_at:
            raise _not_ready_in_time(thread_id, latest)
        await asyncio.sleep(pause)
        pause = min(LONGEST_PAUSE_SECONDS, pause * 1.5)


async def _send(client: Client, run: Run, kind: CommandKind, command: ThreadCommand, id: str) -> CommandAnswer | None:
    """Send a command to an open run, and wait until the run has applied or queued it.

    Returns:
        The run's answer; `None` if the run has ended, or cannot accept the command yet.
    """
    handle = client.get_workflow_handle(run.thread_id)
    payload = to_raw(command.to_json())
    try:
        answer = await handle.execute_update(UPDATE_NAMES[kind], payload, id=id, result_type=RawValue)
    except WorkflowUpdateFailedError as error:
        if isinstance(error.cause, ApplicationError) and error.cause.type in (UPDATE_NOT_READY, ENDED_FIRST):
            return None
        raise _refusal(error) from None
    except WorkflowUpdateRPCTimeoutOrCancelledError:
        if is_cancelled():  # the SDK raises the same error when the task is cancelled
            raise asyncio.CancelledError from None
        return None
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise
    return CommandAnswer.model_validate(from_raw(answer))


async def _taken_before(client: Client, run: Run, id: str) -> CommandAnswer | None:
    """Return what became of a command, if a thread whose latest run is closed has taken it."""
    record = await read_closed_record(client, run)
    for taken in record.taken_commands if record is not None else ():
        if taken.id == id:
            config = config_for(run.thread_id, taken.checkpoint_id)
            return CommandAnswer(run_id=taken.run_id, configurable=config["configurable"])
    return None


def _refusal(error: WorkflowUpdateFailedError) -> StepgraphError:
    """Return the stepgraph error with which the run refused the update."""
    cause = error.cause
    if isinstance(cause, ApplicationError) and cause.details and isinstance(cause.details[0], dict):
        return from_wire(cause.details[0])
    return StepgraphError(f"The thread refused: {cause}")


def _not_ready_in_time(thread_id: str, run: Run | None) -> ThreadBusyError:
    which = f" (run {run.run_id})" if run is not None else ""
    return ThreadBusyError(
        f"Thread {thread_id!r}{which} has accepted no command for {NOT_READY_SECONDS / 60:g} minutes: it opens, or "
        "applies another command. This one was not applied. The thread's page in Temporal's Web UI shows which "
        "activity it waits for; send the command again later.",
        thread_id=thread_id,
        run_id=run.run_id if run is not None else None,
    )
