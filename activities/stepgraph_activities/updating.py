"""The local activities that updates need: a checkpoint of another run, and the answer of a node's routers."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from typing import NoReturn

from temporalio import activity
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from stepgraph.code import GraphCode
from stepgraph.codec import first_line
from stepgraph.errors import NodeError, StepgraphError
from stepgraph.nodes import RouteRequest, route
from stepgraph.payloads import from_raw, to_raw
from stepgraph.runs import record_at
from stepgraph.wire import READ_CHECKPOINT, ROUTE, ReadRequest
from stepgraph_activities.threads import on_a_thread


class UpdatingActivities:
    """What an update asks of a worker that has the graph."""

    def __init__(self, graphs: Mapping[str, GraphCode], executor: Executor) -> None:
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
        task = request.task
        try:
            answer = await route(
                self._graphs[task.graph],
                task,
                task.state or {},
                [request.writes],
                run_sync=lambda function: on_a_thread(self._executor, function),
            )
        except StepgraphError as error:
            _refuse(error)
        except Exception as error:
            _refuse(
                NodeError(
                    f"A router of node {task.node!r} failed: {type(error).__name__}: {first_line(error)}.",
                    graph=task.graph,
                    node=task.node,
                    thread_id=task.thread_id,
                    error_type=f"{type(error).__module__}:{type(error).__qualname__}",
                )
            )
        return to_raw(answer)


def _refuse(error: StepgraphError) -> NoReturn:
    raise ApplicationError(error.message, error.to_wire(), type=type(error).__name__, non_retryable=True) from error
