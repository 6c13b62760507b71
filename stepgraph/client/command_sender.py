"""Delivers commands to threads: to the open run by a Temporal update, to a closed thread by starting its next run.

Theory of operation. A command gets an id at its caller's first call, and keeps it however often it is sent: the id is
the update's id, or the started run's ``caller``. The thread remembers the ids of the commands it has taken
(`stepgraph.engine.taken_commands`), and answers one that is sent again with what became of the first. So whatever is
not certain to have arrived is sent again: the run may have ended meanwhile, or the server's answer may be lost.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from enum import Enum
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
"""How long one run may refuse a command because it opens, or applies another one: as long as a reducer may take. The
time in which a run has accepted the command, and waits for its turn, does not count."""

ENDED_FIRST = "AcceptedUpdateCompletedWorkflow"
"""The server's error type for an update whose run was ended from outside before it answered."""


class Unanswered(Enum):
    """Why a command that was sent has no answer. Either way it is sent again."""

    NOT_TAKEN = "the run has ended, or does not accept the command yet"
    NOT_KNOWN = "the answer was lost, or the run was ended from outside before it answered"


class _Patience:
    """How long the thread's latest run has refused a command: the pauses between its refusals, added up."""

    def __init__(self) -> None:
        self._run_id: str | None = None
        self._refused_seconds, self._next_pause = 0.0, FIRST_PAUSE_SECONDS

    async def pause(self, run: Run | None) -> bool:
        """Pause before the command is sent again. Return false, without a pause, if the run has had its time."""
        if run is not None and run.run_id != self._run_id:
            self._run_id = run.run_id
            self._refused_seconds, self._next_pause = 0.0, FIRST_PAUSE_SECONDS
        if self._refused_seconds > NOT_READY_SECONDS:
            return False
        await asyncio.sleep(self._next_pause)
        self._refused_seconds += self._next_pause
        self._next_pause = min(LONGEST_PAUSE_SECONDS, self._next_pause * 1.5)
        return True


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
    may_be_taken, is_known = False, True
    patience = _Patience()
    while True:
        latest = await threads.latest(thread_id)
        if latest is not None and latest.is_open:
            may_be_taken = True
            answer = await _send(threads.client, latest, kind, command, id)
            if isinstance(answer, CommandAnswer):
                return answer
            is_known = is_known and answer is not Unanswered.NOT_KNOWN
        elif may_be_taken and latest is not None and (taken := await _taken_before(threads.client, latest, id)):
            return taken
        else:
            try:
                if (started := await start(latest, id)) is not None:
                    return started
                is_known = False
            except ThreadBusyError:
                if not waits_its_turn:
                    raise
            may_be_taken = True
        if not await patience.pause(latest):
            raise _not_ready_in_time(thread_id, latest, is_known=is_known)


async def _send(
    client: Client, run: Run, kind: CommandKind, command: ThreadCommand, id: str
) -> CommandAnswer | Unanswered:
    """Send a command to an open run, and wait until the run has applied or queued it.

    Returns:
        The run's answer, or why there is none.

    Raises:
        StepgraphError: the run refuses the command for good.
    """
    handle = client.get_workflow_handle(run.thread_id)
    payload = to_raw(command.to_json())
    try:
        answer = await handle.execute_update(UPDATE_NAMES[kind], payload, id=id, result_type=RawValue)
    except WorkflowUpdateFailedError as error:
        reason = error.cause.type if isinstance(error.cause, ApplicationError) else None
        if reason == UPDATE_NOT_READY:
            return Unanswered.NOT_TAKEN
        if reason == ENDED_FIRST:
            return Unanswered.NOT_KNOWN
        raise _refusal(error) from None
    except WorkflowUpdateRPCTimeoutOrCancelledError:
        if is_cancelled():  # the SDK raises the same error when the task is cancelled
            raise asyncio.CancelledError from None
        return Unanswered.NOT_KNOWN
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return Unanswered.NOT_TAKEN
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


def _not_ready_in_time(thread_id: str, run: Run | None, *, is_known: bool) -> ThreadBusyError:
    """Return the error for a run that refuses a command for too long. ``is_known``: whether no earlier run took it."""
    which = f" (run {run.run_id})" if run is not None else ""
    outcome = (
        "This one was not applied. The thread's page in Temporal's Web UI shows which activity it waits for; send the "
        "command again later."
        if is_known
        else "Whether this one was applied is not known, because an answer was lost: read the state before you send "
        "the command again."
    )
    return ThreadBusyError(
        f"Thread {thread_id!r}{which} has accepted no command for {NOT_READY_SECONDS / 60:g} minutes: it opens, or "
        f"applies another command. {outcome}",
        thread_id=thread_id,
        run_id=run.run_id if run is not None else None,
    )
