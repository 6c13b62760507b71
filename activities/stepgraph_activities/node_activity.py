"""The activity that runs one node: ``research.analyze``.

Owns what an activity owes Temporal: heartbeats, cancellation, which failures are final. What a node may take and return
is decided by `stepgraph.execution.run_node`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import Executor
from datetime import timedelta
from functools import partial
from typing import Any, NoReturn

from temporalio import activity
from temporalio.common import RawValue

from stepgraph.engine.checkpoint import TaskResult
from stepgraph.engine.failures import failure_from
from stepgraph.errors import ChannelTypeError, MissingNodeError, UnknownFormatError
from stepgraph.execution.registry import GraphRegistry
from stepgraph.execution.run_code import RunCode
from stepgraph.execution.run_node import run_task
from stepgraph.protocol.task_request import TaskAnswer, TaskRequest
from stepgraph.serde.sizes import size_limit
from stepgraph.temporal.logs import get_logger
from stepgraph.temporal.payloads import failure, to_raw
from stepgraph.temporal.storage import uses_storage
from stepgraph_activities.cancellable_thread import run_on_thread
from stepgraph_activities.heartbeats import heartbeats
from stepgraph_activities.other_worker import missing_graph, other_worker_delay
from stepgraph_activities.state_source import StateUnavailableError, load_spec, load_state

log = get_logger("node")


class NodeActivity:
    """Runs nodes of the graphs that a worker serves."""

    def __init__(self, graphs: Mapping[str, GraphRegistry], executor: Executor) -> None:
        self._graphs = dict(graphs)
        self._executor = executor

    async def run(self, request: TaskRequest) -> RawValue:
        """Make one attempt at one task. Any error of the node ends the attempt as a Temporal failure."""
        info = activity.info()
        bound = log.bind(
            graph=request.graph,
            thread=request.thread_id,
            run=request.run_id,
            step=request.step,
            node=request.node,
            checkpoint_id=request.checkpoint_id,
            attempt=info.attempt,
        )
        bound.info("node starts")
        try:
            async with heartbeats(info.heartbeat_timeout):
                result = await self._result(request, info.attempt)
        except asyncio.CancelledError:
            bound.info("node interrupted", worker_stops=activity.is_worker_shutdown())
            raise
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # a node must not end its worker
            self._fail(error, request, info.attempt, bound)
        bound.info("node done", wrote=sorted({name for write in result.writes for name in write}))
        return to_raw(TaskAnswer(**dict(result)))

    async def _result(self, request: TaskRequest, attempt: int) -> TaskResult:
        registry = self._graphs.get(request.graph)
        if registry is None:
            raise missing_graph(self._graphs, request, request.node)
        return await run_task(
            RunCode(registry, await load_spec(registry, request)),
            request,
            await load_state(request),
            run_sync=partial(run_on_thread, self._executor),
            attempt=attempt,
            limit=size_limit(uses_external_storage=request.storage and uses_storage(activity.client())),
        )

    def _fail(self, error: BaseException, request: TaskRequest, attempt: int, bound: Any) -> NoReturn:
        """Log the error and raise it as a failure: a final one, unless another attempt is due."""
        retry_delay = self._retry_delay(error, request, attempt)
        node_failure = failure_from(error, attempts=attempt)
        event = "node failed" if retry_delay is None else "node failed, will be tried again"
        bound.warning(event, error=node_failure.summary)
        raise failure(
            node_failure.error_message or "the node's exception has no message",
            node_failure,
            type=type(error).__name__,
            stack_trace=node_failure.traceback,
            non_retryable=retry_delay is None,
            next_retry_delay=retry_delay,
        ) from error

    def _retry_delay(self, error: BaseException, request: TaskRequest, attempt: int) -> timedelta | None:
        """Return how long to wait before another attempt, or `None` if the failure is final."""
        if isinstance(error, StateUnavailableError):
            return timedelta(seconds=1)
        if isinstance(error, MissingNodeError | ChannelTypeError | UnknownFormatError):
            return other_worker_delay(attempt)
        registry = self._graphs.get(request.graph)
        node = registry.nodes.get(request.node) if registry is not None else None
        seconds = node.retry_delay(error, attempt) if node is not None else None
        return None if seconds is None else timedelta(seconds=seconds)
