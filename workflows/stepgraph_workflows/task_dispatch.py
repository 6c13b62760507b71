"""One task as a Temporal activity: its options from the spec, its outcome as the engine's data."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from pydantic import ValidationError
from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError
from temporalio.exceptions import TimeoutError as ActivityTimeoutError

from stepgraph.engine.checkpoint import Task, TaskFailure, TaskResult
from stepgraph.engine.constants import START
from stepgraph.engine.spec import NodeSpec
from stepgraph.engine.thread import Thread
from stepgraph.errors import StorageError
from stepgraph.execution.activity_input import abridged
from stepgraph.execution.run_node import ENTRY_TIMEOUT, TaskRequest, request_for
from stepgraph.execution.state_cache import states
from stepgraph.protocol.wire import Settings, activity_type
from stepgraph.temporal.payloads import from_raw, to_raw

CANCELLED = "asyncio.exceptions:CancelledError"
"""The type of a task's failure when it was stopped."""

ENTRY_ROUTER = NodeSpec(name=START, timeout=ENTRY_TIMEOUT, heartbeat_timeout=30.0)
"""How the routers of the start node are run."""


async def perform(
    thread: Thread, task: Task, settings: Settings, config: dict[str, Any], groups: Sequence[workflow.EventGroup]
) -> None:
    """Runs one task to its end, and tells the thread of it."""
    node = ENTRY_ROUTER if task.node == START else thread.spec.node(task.node)
    thread.start(task)
    try:
        answer = await workflow.execute_activity(
            activity_type(thread.spec.name, node.name),
            to_raw(abridged(_request(thread, task, settings, config))),
            result_type=RawValue,
            task_queue=node.task_queue,
            start_to_close_timeout=timedelta(seconds=node.timeout),
            heartbeat_timeout=timedelta(seconds=node.heartbeat_timeout),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            retry_policy=_retry_policy(node),
            summary=f"step {task.step} · {node.name}",
            event_groups=list(groups),
        )
        thread.finish(task, TaskResult.model_validate(from_raw(answer)))
    except ActivityError as error:
        thread.fail(task, failure_of(error))
    except (ValidationError, ValueError) as error:
        thread.fail(
            task,
            TaskFailure(
                error_type="builtins:TypeError",
                error_message=f"The worker answered what is no task result, so it runs another version: {error}",
            ),
        )


def failure_of(error: ActivityError) -> TaskFailure:
    """Why an activity failed for good."""
    cause = error.cause
    if isinstance(cause, ApplicationError) and cause.details and isinstance(cause.details[0], dict):
        try:
            return TaskFailure.model_validate(cause.details[0])
        except ValidationError:
            if cause.type == StorageError.__name__ and "message" in cause.details[0]:
                told = cause.details[0]["message"]
                return TaskFailure(error_type=f"{StorageError.__module__}:{cause.type}", error_message=told)
    if isinstance(cause, ActivityTimeoutError):
        kind = cause.type.name.replace("_", "-").lower() if cause.type is not None else "unknown"
        return TaskFailure(
            error_type="builtins:TimeoutError",
            error_message=f"no attempt ended in time ({kind}): its worker crashed or was too slow",
        )
    if isinstance(cause, CancelledError):
        return TaskFailure(error_type=CANCELLED, error_message="cancelled")
    named = cause.type if isinstance(cause, ApplicationError) else None
    return TaskFailure(error_type=named or type(cause).__name__, error_message=str(cause))


def _request(thread: Thread, task: Task, settings: Settings, config: dict[str, Any]) -> TaskRequest:
    return request_for(thread, task, config, with_state=travels_inline(thread, settings))


def travels_inline(thread: Thread, settings: Settings) -> bool:
    """Whether the head's values go into an activity's input; otherwise they are laid out for this process's own."""
    inline = thread.state_size <= settings.inline_bytes
    if not inline and thread.head is not None and not workflow.unsafe.is_replaying():
        states.put(thread.run_id, thread.head.id, thread.state)
    return inline


def _retry_policy(node: NodeSpec) -> RetryPolicy:
    """Temporal's policy for a node.

    Which exceptions are final is the activity's to say. Without a policy of the author's, what is left to retry are
    crashes and timeouts, and those are retried for as long as it takes.
    """
    if node.retry is None:
        return RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1))
    return RetryPolicy(
        initial_interval=timedelta(seconds=node.retry.initial_interval),
        backoff_coefficient=node.retry.backoff_factor,
        maximum_interval=timedelta(seconds=node.retry.max_interval),
        maximum_attempts=node.retry.max_attempts,
    )
