"""The activity that runs one node: ``research.analyze``.

Owns what Temporal asks of an activity (heartbeats, cancellation, which failures are final) and nothing of what nodes
may return, which is `stepgraph.execution.run_node`'.
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
from stepgraph.errors import MissingNodeError
from stepgraph.execution.registry import GraphRegistry
from stepgraph.execution.run_node import run_task
from stepgraph.protocol.task_request import TaskRequest
from stepgraph.serde.sizes import size_limit
from stepgraph.temporal.logs import get_logger
from stepgraph.temporal.payloads import failure, to_raw
from stepgraph.temporal.storage import uses_storage
from stepgraph_activities.cancellable_thread import run_on_thread
from stepgraph_activities.heartbeats import heartbeats
from stepgraph_activities.state_source import StateUnavailableError, state_of

MISSING_NODE_ATTEMPTS = 4
"""How many workers in a row may lack a node before the run fails: during a deployment, old ones and new ones poll."""

log = get_logger("node")


class NodeActivity:
    """Runs nodes of the graphs a worker has."""

    def __init__(self, graphs: Mapping[str, GraphRegistry], executor: Executor) -> None:
        self._graphs = dict(graphs)
        self._executor = executor

    async def run(self, request: TaskRequest) -> RawValue:
        """One attempt at one task."""
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
        return to_raw(result.model_dump(mode="json", exclude_defaults=True))

    async def _result(self, request: TaskRequest, attempt: int) -> TaskResult:
        registry = self._graphs.get(request.graph)
        if registry is None:
            raise MissingNodeError(
                f"This worker polls task queue {activity.info().task_queue!r} but has no graph {request.graph!r}; "
                f"it has {', '.join(map(repr, sorted(self._graphs)))}. Give it that graph, then resume.",
                graph=request.graph,
                node=request.node,
                run_spec=request.spec_hash,
                worker_spec=None,
            )
        return await run_task(
            registry,
            request,
            await state_of(request),
            run_sync=partial(run_on_thread, self._executor),
            attempt=attempt,
            limit=size_limit(uses_external_storage=request.uses_external_storage and uses_storage(activity.client())),
        )

    def _fail(self, error: BaseException, request: TaskRequest, attempt: int, bound: Any) -> NoReturn:
        """Ends the attempt: for good, unless another one is worth making."""
        pause = self._pause_before_another(error, request, attempt)
        why = failure_from(error, attempts=attempt)
        bound.warning("node failed" if pause is None else "node failed, will be tried again", error=why.summary)
        raise failure(
            why.error_message or "the node gave no reason",
            why,
            type=type(error).__name__,
            stack_trace=why.traceback,
            non_retryable=pause is None,
            next_retry_delay=pause,
        ) from error

    def _pause_before_another(self, error: BaseException, request: TaskRequest, attempt: int) -> timedelta | None:
        """How long to wait before another attempt; `None` when this failure is final."""
        if isinstance(error, StateUnavailableError):
            return timedelta(seconds=1)
        if isinstance(error, MissingNodeError):
            return timedelta(seconds=attempt) if attempt < MISSING_NODE_ATTEMPTS else None
        registry = self._graphs.get(request.graph)
        node = registry.nodes.get(request.node) if registry is not None else None
        pause = node.pause_after(error, attempt) if node is not None else None
        return None if pause is None else timedelta(seconds=pause)
