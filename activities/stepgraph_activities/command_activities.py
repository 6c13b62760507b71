"""The local activities that commands need: read a checkpoint of another run, and run a node's routers."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from functools import partial
from typing import NoReturn

from temporalio import activity
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from stepgraph.errors import StepgraphError
from stepgraph.execution.registry import GraphRegistry
from stepgraph.execution.run_node import route_by_hand
from stepgraph.protocol.names import READ_CHECKPOINT, ROUTE
from stepgraph.protocol.opening import ReadRequest
from stepgraph.protocol.task_request import RouteRequest
from stepgraph.temporal.payloads import from_raw, to_raw
from stepgraph.temporal.records import record_at
from stepgraph_activities.cancellable_thread import run_on_thread


class CommandActivities:
    """Local activities of a workflow that applies an update or a fork, run on its own worker."""

    def __init__(self, graphs: Mapping[str, GraphRegistry], executor: Executor) -> None:
        self._graphs = dict(graphs)
        self._executor = executor

    @activity.defn(name=READ_CHECKPOINT)
    async def read_checkpoint(self, raw: RawValue) -> RawValue:
        """Return the record of a checkpoint that another run, perhaps of another thread, has made."""
        request = ReadRequest.model_validate(from_raw(raw))
        try:
            return to_raw(await record_at(activity.client(), request.thread_id, request.checkpoint_id))
        except StepgraphError as error:
            _raise_final(error)

    @activity.defn(name=ROUTE)
    async def route(self, raw: RawValue) -> RawValue:
        """Return the nodes that a node's routers choose after an update in its name."""
        request = RouteRequest.model_validate(from_raw(raw))
        try:
            destinations = await route_by_hand(
                self._graphs[request.task.graph],
                request,
                run_sync=partial(run_on_thread, self._executor),
            )
        except StepgraphError as error:
            _raise_final(error)
        return to_raw(destinations)


def _raise_final(error: StepgraphError) -> NoReturn:
    """Fail the activity without another attempt; the error travels in the details, as JSON data."""
    raise ApplicationError(error.message, error.to_wire(), type=type(error).__name__, non_retryable=True) from error
