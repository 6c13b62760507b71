"""Orders to a thread: an update to its open run, or the next run of a closed one, started for it."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from stepgraph.errors import StepgraphError, from_wire
from stepgraph.protocol.commands import InvokeCommand, ResumeCommand, UpdateCommand
from stepgraph.protocol.names import FORK, INVOKE, RESUME, UPDATE_NOT_READY, UPDATE_STATE
from stepgraph.temporal.executions import Run
from stepgraph.temporal.payloads import from_raw, to_raw

CommandKind = Literal["update", "fork", "resume", "invoke"]

PAUSE_SECONDS = 0.05
"""Before an update is sent again that came at a moment when none can be taken."""

UPDATE_NAMES: dict[CommandKind, str] = {"update": UPDATE_STATE, "fork": FORK, "resume": RESUME, "invoke": INVOKE}


async def send_command(
    client: Client, run: Run, kind: CommandKind, command: UpdateCommand | ResumeCommand | InvokeCommand
) -> dict[str, Any] | None:
    """Has an open run carry out an order; the config of the checkpoint it made, `None` if the run has ended meanwhile.

    Raises:
        StepgraphError: the order is refused.
    """
    handle = client.get_workflow_handle(run.thread_id)
    while True:
        try:
            answer = await handle.execute_update(UPDATE_NAMES[kind], to_raw(command.to_json()), result_type=RawValue)
        except WorkflowUpdateFailedError as error:
            if isinstance(error.cause, ApplicationError) and error.cause.type == UPDATE_NOT_READY:
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            raise _told(error) from None
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise
        config: dict[str, Any] = from_raw(answer)
        return config


def _told(error: WorkflowUpdateFailedError) -> StepgraphError:
    cause = error.cause
    if isinstance(cause, ApplicationError) and cause.details and isinstance(cause.details[0], dict):
        return from_wire(cause.details[0])
    return StepgraphError(f"The thread refused: {cause}")
