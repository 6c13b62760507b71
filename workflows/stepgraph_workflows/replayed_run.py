"""Reads a run without a worker: replays its history in this process, and answers queries from the result.

The workflow works on data that its history records, so no code of the graph is needed, and no task queue is polled. The
answers are those that a worker would give for the run as far as its history has been decided: what has happened since
the last completed workflow task is not in them yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

from temporalio.client import Client, WorkflowHistory
from temporalio.common import RawValue
from temporalio.converter import DataConverter
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

from stepgraph.errors import StepgraphError, from_wire
from stepgraph.protocol.names import GET_HISTORY, GET_RECORD, GET_STATE, GET_VALUES
from stepgraph.serde.error_text import first_line
from stepgraph.temporal import sdk_internals
from stepgraph.temporal.payloads import from_raw, to_raw
from stepgraph.temporal.rpc import retried
from stepgraph.temporal.storage import read_only_converter
from stepgraph_workflows.graph_workflow import GraphWorkflow

MAX_DURATION = timedelta(minutes=2)
"""How long a replay may take. One of 9,000 events takes 2 to 3 seconds."""

END_PATIENCE = timedelta(seconds=1)
"""How long a replay that is cancelled may take to end before it is cancelled once more."""


class ReplayedRun:
    """A run as its history tells it."""

    def __init__(self, workflow: GraphWorkflow) -> None:
        self._answers: Mapping[str, Callable[[RawValue], RawValue]] = {
            GET_STATE: workflow.get_state,
            GET_HISTORY: workflow.get_state_history,
            GET_RECORD: workflow.get_record,
            GET_VALUES: workflow.get_values,
        }

    def answer(self, query: str, request: Mapping[str, Any]) -> Any:
        """Return the complete answer to a query, as JSON data.

        Args:
            query: `GET_STATE`, `GET_HISTORY`, `GET_RECORD` or `GET_VALUES`.
            request: the query's fields, without ``page``.

        Raises:
            StepgraphError: the error that the run answers with.
        """
        answer = from_raw(self._answers[query](to_raw(dict(request))))
        if isinstance(answer, dict) and "error" in answer:
            raise from_wire(answer["error"])
        return answer


async def replay_run(client: Client, thread_id: str, run_id: str) -> ReplayedRun | None:
    """Replay a run's history; return `None` if no worker has begun with the run, or if the server no longer has it.

    Args:
        client: a connected client, whose codecs and external storage read the history.
        thread_id: the thread.
        run_id: the run.

    Raises:
        StepgraphError: the history cannot be replayed: another version of stepgraph made it, or it cannot be read.
    """
    handle = client.get_workflow_handle(thread_id, run_id=run_id)
    try:
        history = await retried(handle.fetch_history)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise
    try:
        return await replay_history(history, client.data_converter, namespace=client.namespace)
    except Exception as error:  # the SDK's, or whatever a codec raises
        raise StepgraphError(
            f"The history of run {run_id} of thread {thread_id!r} cannot be replayed here: {first_line(error)}. "
            "Another version of stepgraph made it, or this process lacks its payload codec or external storage.",
            thread_id=thread_id,
            run_id=run_id,
        ) from error


async def replay_history(
    history: WorkflowHistory, converter: DataConverter, *, namespace: str = "default"
) -> ReplayedRun | None:
    """Replay a history; return `None` if no worker has begun with it. Raises whatever the SDK does if it cannot."""
    begun: list[GraphWorkflow] = []

    class Replayed(GraphWorkflow):
        uses_external_storage = True  # answers are for this process, so they need no pages

        def __init__(self) -> None:
            super().__init__()
            begun.append(self)

    replayer = Replayer(
        workflows=[sdk_internals.dynamic_workflow(Replayed, {}, module=__name__)],
        workflow_runner=UnsandboxedWorkflowRunner(),
        namespace=namespace,
        data_converter=read_only_converter(converter),
        debug_mode=True,  # a long history takes longer than the SDK's limit of 2 seconds
    )
    replay = asyncio.ensure_future(replayer.replay_workflow(history))
    try:
        done, _ = await asyncio.wait([replay], timeout=MAX_DURATION.total_seconds())
        if not done:
            raise TimeoutError(f"it took more than {MAX_DURATION.total_seconds():.0f} s")
    finally:
        await _end(replay)
    replay.result()
    return ReplayedRun(begun[0]) if begun else None


async def _end(replay: asyncio.Future[Any]) -> None:
    """Cancel a replay until it has ended.

    When the SDK's replayer is cancelled, it waits for its worker. The worker does not end while a workflow task is
    open: a codec that does not answer, for example, would make the caller wait for ever. A second cancel ends that
    wait.
    """
    while not replay.done():
        replay.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait([replay], timeout=END_PATIENCE.total_seconds())
