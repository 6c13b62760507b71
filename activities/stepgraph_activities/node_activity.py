"""The activity that runs one node: ``research.analyze``.

Owns what an activity owes Temporal: heartbeats, cancellation, which failures are final. What a node may take and return
is decided by `stepgraph.execution.run_node`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from datetime import timedelta
from functools import partial
from typing import Any, NoReturn

from temporalio import activity
from temporalio.common import RawValue

from stepgraph.engine.checkpoint import TaskResult
from stepgraph.engine.constants import START
from stepgraph.engine.failures import failure_from
from stepgraph.errors import ChannelTypeError, MissingNodeError, UnknownFormatError
from stepgraph.execution.cancellation import is_cancellation, is_end_of_process
from stepgraph.execution.node_services import NodeServices, no_store
from stepgraph.execution.registry import GraphRegistry
from stepgraph.execution.retry import RetryPolicy, delay_after_error, delay_after_timeout
from stepgraph.execution.run_code import RunCode
from stepgraph.execution.run_node import run_task
from stepgraph.protocol.task_request import START_TIMEOUT, TaskAnswer, TaskProgress, TaskRequest
from stepgraph.serde.sizes import size_limit
from stepgraph.temporal.logs import get_logger
from stepgraph.temporal.payloads import failure, to_raw
from stepgraph.temporal.storage import uses_storage
from stepgraph_activities.cancellable_thread import run_on_thread
from stepgraph_activities.heartbeats import heartbeats, reported_progress
from stepgraph_activities.other_worker import missing_graph, other_worker_delay
from stepgraph_activities.state_source import UNAVAILABLE_PAUSE, StateUnavailableError, load_spec, load_state

log = get_logger("node")


class NodeActivity:
    """Runs nodes of the graphs that a worker serves."""

    def __init__(
        self, graphs: Mapping[str, GraphRegistry], executor: Executor, open_store: Callable[[], Any] = no_store
    ) -> None:
        self._graphs = graphs
        self._executor = executor
        self._open_store = open_store

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
        reported = reported_progress(TaskProgress, info) or TaskProgress(failed_attempts=request.failed_attempts)
        attempts = _Attempts(reported)
        async with heartbeats(attempts.progress) as beats:
            try:
                result = await self._result(request, attempts)
            except BaseException as error:  # a node must not end its worker
                if is_cancellation(error):
                    bound.info("node interrupted", worker_stops=activity.is_worker_shutdown())
                    raise
                retry_delay = self._retry_delay(error, request, attempts)
                if retry_delay is not None:
                    await beats.acknowledge()
                _fail(error, retry_delay, attempts, bound)
        bound.info("node done", wrote=sorted({name for write in result.writes for name in write}))
        return to_raw(TaskAnswer(**dict(result)))

    async def _result(self, request: TaskRequest, attempts: _Attempts) -> TaskResult:
        registry = self._graphs.get(request.graph)
        if registry is None:
            raise missing_graph(self._graphs, request, request.node)
        code = RunCode(registry, await load_spec(registry, request), NodeServices(self._open_store))
        code = code.starting_at(activity.info().scheduled_time.timestamp())
        timeout = START_TIMEOUT if request.node == START else code.spec.node(request.node).timeout
        state = await load_state(request)
        try:
            async with asyncio.timeout(timeout) as node_timeout:
                return await run_task(
                    code,
                    request,
                    state,
                    run_sync=partial(run_on_thread, self._executor),
                    attempt=attempts.failed + 1,
                    limit=size_limit(uses_external_storage=request.storage and uses_storage(activity.client())),
                )
        except TimeoutError as error:
            attempts.timed_out = node_timeout.expired()
            if attempts.timed_out:
                raise TimeoutError(f"an attempt took longer than the node's timeout of {timeout:g} seconds") from error
            raise

    def _policies(self, request: TaskRequest) -> tuple[RetryPolicy, ...]:
        registry = self._graphs.get(request.graph)
        node = registry.nodes.get(request.node) if registry is not None else None
        return node.retry_policies if node is not None else ()

    def _retry_delay(self, error: BaseException, request: TaskRequest, attempts: _Attempts) -> timedelta | None:
        """Return how long to wait before another attempt, or `None` if the failure is final."""
        if isinstance(error, StateUnavailableError) or is_end_of_process(error):
            return UNAVAILABLE_PAUSE
        if isinstance(error, MissingNodeError | ChannelTypeError | UnknownFormatError):
            attempts.left += 1
            return other_worker_delay(attempts.left)
        attempts.failed += 1
        policies = self._policies(request)
        if attempts.timed_out:
            seconds = delay_after_timeout(policies, attempts.failed)
        else:
            seconds = delay_after_error(policies, error, attempts.failed)
        return None if seconds is None else timedelta(seconds=seconds)


class _Attempts:
    """The attempts at one task: this one, and what is known of those before it.

    ``reported`` is what the attempt before it has reported.
    """

    def __init__(self, reported: TaskProgress) -> None:
        self.failed = reported.failed_attempts
        """How many have failed."""
        self.left = reported.left_attempts
        """How many were left to another worker."""
        self.timed_out = False
        """Whether this attempt has exceeded the node's timeout."""

    def progress(self) -> dict[str, Any] | None:
        """Return what the next attempt needs to know."""
        if not self.failed and not self.left:
            return None
        return TaskProgress(failed_attempts=self.failed, left_attempts=self.left).to_json()


def _fail(error: BaseException, retry_delay: timedelta | None, attempts: _Attempts, bound: Any) -> NoReturn:
    """Log the error and raise it as a failure: a final one, unless another attempt is due."""
    node_failure = failure_from(error, attempts=max(attempts.failed, 1))
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
