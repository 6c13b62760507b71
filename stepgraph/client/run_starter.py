"""Starts the next run of a thread so that two clients never both continue from the same record.

Temporal keeps no pointer from a run to the closed run before it. A client therefore reads which run is the latest, and
starts the next one with a request id made from the latest run's id. If two clients do so at once, the server starts one
run and returns it to both. The run's first event holds the ``caller`` that it was started for; the other client raises
`ThreadBusyError`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final

from temporalio.api.common.v1 import Payloads, WorkflowType
from temporalio.api.enums.v1 import WorkflowIdConflictPolicy, WorkflowIdReusePolicy
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import StartWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from stepgraph.protocol.config import RunConfig
from stepgraph.protocol.start_options import WORKFLOW_TASK_SECONDS, StartOptions
from stepgraph.protocol.thread_errors import thread_busy
from stepgraph.temporal import sdk_internals
from stepgraph.temporal.executions import Run, latest_run, start_options
from stepgraph.temporal.payloads import to_raw
from stepgraph.temporal.rpc import PAUSE_SECONDS, is_cancelled
from stepgraph.temporal.storage import uses_storage

GIVE_UP_SECONDS = 10.0
"""For how long a start is tried again: as long as the SDK tries other requests."""

NOT_STARTED: Final = frozenset({RPCStatusCode.ALREADY_EXISTS, RPCStatusCode.RESOURCE_EXHAUSTED})
"""The statuses that say that no run was started: another one is open, or the server limits the rate of starts."""

TRY_AGAIN: Final = NOT_STARTED | {
    RPCStatusCode.ABORTED,
    RPCStatusCode.CANCELLED,
    RPCStatusCode.INTERNAL,
    RPCStatusCode.UNAVAILABLE,
    RPCStatusCode.UNKNOWN,
}


async def start_next_run(
    client: Client,
    graph: str,
    input_data: dict[str, Any] | None,
    config: RunConfig,
    *,
    after: Run | None,
    caller: str,
    task_queue: str,
    options: Mapping[str, Any] | None = None,
) -> Run | None:
    """Start the run that follows ``after``: with an input, to resume, or for an update or a fork.

    Args:
        client: a connected client.
        graph: the graph's name, which is the workflow type.
        input_data: the input as JSON data; `None` to resume, or if ``options`` has a command.
        config: the caller's config.
        after: the thread's latest run; `None` for a new thread.
        caller: the id of the input or command. A run that was started for it already is returned.
        task_queue: the task queue of the run.
        options: further fields of `StartOptions`: ``update``, ``fork``, ``resume``, breakpoints.

    Returns:
        The run. `None` if the server's answer was lost, and the thread has gone on since: perhaps with this run.

    Raises:
        ThreadBusyError: the thread is running, or another client has started the next run meanwhile.
    """
    all_options = StartOptions(
        after=after.run_id if after else None,
        caller=caller,
        recursion_limit=config.recursion_limit,
        config=config.node_config,
        **(options or {}),
    )
    converter = sdk_internals.workflow_data_converter(client, thread_id=config.thread_id, graph=graph)
    request = StartWorkflowExecutionRequest(
        namespace=client.namespace,
        workflow_id=config.thread_id,
        workflow_type=WorkflowType(name=graph),
        task_queue=TaskQueue(name=task_queue),
        input=Payloads(payloads=await converter.encode([to_raw(input_data), to_raw(all_options.to_json())])),
        identity=client.identity,
        request_id=f"after:{after.run_id if after else 'nothing'}",
        workflow_id_reuse_policy=WorkflowIdReusePolicy.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
        workflow_id_conflict_policy=WorkflowIdConflictPolicy.WORKFLOW_ID_CONFLICT_POLICY_FAIL,
    )
    if uses_storage(client):
        request.workflow_task_timeout.FromSeconds(WORKFLOW_TASK_SECONDS)
    give_up_at = time.monotonic() + GIVE_UP_SECONDS
    answer_lost = False
    while True:
        # Looks again each time, right before the start: the server starts a run after an older one, too.
        latest = await latest_run(client, config.thread_id)
        if latest is not None and (after is None or latest.run_id != after.run_id):
            if (await start_options(client, latest)).caller == caller:
                return latest
            if answer_lost:
                return None
            raise thread_busy(config.thread_id, latest.run_id)
        try:
            # Not retried by the SDK: it would not look whether the run has been started, and has ended, meanwhile.
            response = await client.workflow_service.start_workflow_execution(request)
        except RPCError as error:
            if error.status not in TRY_AGAIN or is_cancelled() or time.monotonic() >= give_up_at:
                raise
            answer_lost = answer_lost or error.status not in NOT_STARTED
            await asyncio.sleep(PAUSE_SECONDS)
            continue
        run = await latest_run(client, config.thread_id, response.run_id)
        assert run is not None
        if (await start_options(client, run)).caller != caller:
            raise thread_busy(config.thread_id, run.run_id)
        return run
