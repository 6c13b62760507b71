"""Sends commands to the open run of a thread, as Temporal updates.

A closed thread has no run that could take an update: its next run is started with the command (`run_starter`).
"""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from stepgraph.errors import StepgraphError, from_wire
from stepgraph.protocol.commands import CommandKind, ThreadCommand
from stepgraph.protocol.names import FORK, INVOKE, RESUME, UPDATE_NOT_READY, UPDATE_STATE
from stepgraph.temporal.executions import Run
from stepgraph.temporal.payloads import from_raw, to_raw

RETRY_SECONDS = 0.05
"""The pause before an update is sent again that the run could not accept yet."""

UPDATE_NAMES: dict[CommandKind, str] = {"update": UPDATE_STATE, "fork": FORK, "resume": RESUME, "invoke": INVOKE}


async def send_command(client: Client, run: Run, kind: CommandKind, command: ThreadCommand) -> dict[str, Any] | None:
    """Send a command to an open run, and wait until the run has applied or queued it.

    Returns:
        The config of the checkpoint that the command made; ``{"queued_input_id": ...}`` if the run put the input into
        the thread's input queue; `None` if the run has ended.

    Raises:
        StepgraphError: the run refuses the command.
    """
    handle = client.get_workflow_handle(run.thread_id)
    while True:
        try:
            answer = await handle.execute_update(UPDATE_NAMES[kind], to_raw(command.to_json()), result_type=RawValue)
        except WorkflowUpdateFailedError as error:
            if isinstance(error.cause, ApplicationError) and error.cause.type == UPDATE_NOT_READY:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            raise _refusal(error) from None
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise
        config: dict[str, Any] = from_raw(answer)
        return config


def _refusal(error: WorkflowUpdateFailedError) -> StepgraphError:
    """Return the stepgraph error with which the run refused the update."""
    cause = error.cause
    if isinstance(cause, ApplicationError) and cause.details and isinstance(cause.details[0], dict):
        return from_wire(cause.details[0])
    return StepgraphError(f"The thread refused: {cause}")
