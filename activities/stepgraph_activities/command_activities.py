"""The local activities that updates need: a checkpoint of another run, and the answer of a node's routers."""

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


class UpdatingActivities:
    """What an update asks of a worker that has the graph."""

    def __init__(self, graphs: Mapping[str, GraphRegistry], executor: Executor) -> None:
        self._graphs = dict(graphs)
        self._executor = executor

    @activity.defn(name=READ_CHECKPOINT)
    async def read_checkpoint(self, raw: RawValue) -> RawValue:
        """The record of a checkpoint, wherever it was made."""
        request = ReadRequest.model_validate(from_raw(raw))
        try:
            return to_raw(await record_at(activity.client(), request.thread_id, request.checkpoint_id))
        except StepgraphError as error:
            _refuse(error)

    @activity.defn(name=ROUTE)
    async def route(self, raw: RawValue) -> RawValue:
        """Where the routers of a node lead after an update in its name."""
        request = RouteRequest.model_validate(from_raw(raw))
        try:
            answer = await route_by_hand(
                self._graphs[request.task.graph],
                request,
                run_sync=partial(run_on_thread, self._executor),
            )
        except StepgraphError as error:
            _refuse(error)
        return to_raw(answer)


def _refuse(error: StepgraphError) -> NoReturn:
    raise ApplicationError(error.message, error.to_wire(), type=type(error).__name__, non_retryable=True) from error
