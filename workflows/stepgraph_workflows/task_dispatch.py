"""One task as a Temporal activity: its options come from the spec, its outcome is the engine's data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from pydantic import ValidationError
from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError
from temporalio.exceptions import TimeoutError as ActivityTimeoutError

from stepgraph.engine.checkpoint import Task, TaskFailure
from stepgraph.engine.constants import START
from stepgraph.engine.spec import MAX_ATTEMPTS, NodeSpec
from stepgraph.engine.thread import Thread
from stepgraph.errors import StorageError, UnknownFormatError
from stepgraph.protocol.activity_input import to_activity_input
from stepgraph.protocol.names import activity_type
from stepgraph.protocol.opening import RunSettings
from stepgraph.protocol.task_request import HEARTBEAT_TIMEOUT, START_TIMEOUT, TIMEOUT_GRACE, TaskAnswer, task_request
from stepgraph.temporal.payloads import from_raw, to_raw
from stepgraph.temporal.state_cache import process_cache

CANCELLED = "asyncio.exceptions:CancelledError"
"""The error type of a cancelled task's failure."""

START_NODE = NodeSpec(name=START, timeout=START_TIMEOUT, heartbeat_timeout=HEARTBEAT_TIMEOUT)
"""The options with which the routers of the start node run."""

RETRIES = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=10))
"""How Temporal repeats an attempt whose worker was lost: for as long as it takes.

The activity decides which exceptions are final, and how long to wait after the others. Temporal's own count of attempts
would include those whose worker was lost.
"""

MAX_LOST_ATTEMPTS = 100
"""How many attempts at a task with a retry policy may be lost with their workers, or ended by the server because they
kept their worker from ending them in time. The task then fails."""


async def run_task_activity(
    thread: Thread,
    task: Task,
    settings: RunSettings,
    config: dict[str, Any],
    groups: Sequence[workflow.EventGroup],
    *,
    failed_attempts: int = 0,
) -> None:
    """Execute one task to its end, and record its result or failure in the thread.

    ``failed_attempts``: how many attempts at it have failed in fused super-steps.
    """
    node = START_NODE if task.node == START else thread.spec.node(task.node)
    inline = travels_inline(thread, settings)
    request = task_request(thread, task, config, with_state=inline, failed_attempts=failed_attempts)
    thread.start(task)
    try:
        answer = await workflow.execute_activity(
            activity_type(thread.spec.name, node.name),
            to_raw(to_activity_input(request)),
            result_type=RawValue,
            task_queue=node.task_queue or settings.task_queue,
            start_to_close_timeout=timedelta(seconds=node.timeout + TIMEOUT_GRACE),
            heartbeat_timeout=timedelta(seconds=node.heartbeat_timeout),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            retry_policy=_retries(node),
            summary=f"step {request.step} · {node.name}",
            event_groups=list(groups),
        )
        thread.finish(task, TaskAnswer.model_validate(from_raw(answer)))
    except ActivityError as error:
        thread.fail(task, failure_of(error))
    except (ValueError, UnknownFormatError) as error:  # pydantic's, too
        thread.fail(task, unreadable_answer("a task result", error))


def failure_of(error: ActivityError) -> TaskFailure:
    """Return why an activity failed for good."""
    cause = error.cause
    if isinstance(cause, ApplicationError) and cause.details and isinstance(cause.details[0], dict):
        try:
            return TaskFailure.model_validate(cause.details[0])
        except ValidationError:
            if cause.type == StorageError.__name__ and "message" in cause.details[0]:
                message = cause.details[0]["message"]
                return TaskFailure(error_type=f"{StorageError.__module__}:{cause.type}", error_message=message)
    if isinstance(cause, ActivityTimeoutError):
        kind = cause.type.name.replace("_", "-").lower() if cause.type is not None else "unknown"
        return TaskFailure(
            error_type="builtins:TimeoutError",
            error_message=f"no attempt ended in time ({kind}): its worker was lost or too slow",
        )
    if isinstance(cause, CancelledError):
        return TaskFailure(error_type=CANCELLED, error_message="cancelled")
    error_type = cause.type if isinstance(cause, ApplicationError) else None
    return TaskFailure(error_type=error_type or type(cause).__name__, error_message=str(cause))


def unreadable_answer(expected: str, error: Exception) -> TaskFailure:
    """Return the failure of a task whose activity answered with something else than it should."""
    return TaskFailure(
        error_type="builtins:TypeError",
        error_message=f"The worker did not answer with {expected}, so it runs another version: {error}",
    )


def travels_inline(thread: Thread, settings: RunSettings) -> bool:
    """Return whether the head's values go into an activity's input. Larger ones go into this process's cache."""
    inline = thread.state_size <= settings.inline_bytes
    if not inline and thread.head is not None and not workflow.unsafe.is_replaying():
        process_cache.put(thread.run_id, thread.head.id, thread.state)
    return inline


def _retries(node: NodeSpec) -> RetryPolicy:
    """Return how Temporal repeats a node's lost attempts: for ever, unless its author bounds the attempts."""
    if node.retry is None:
        return RETRIES
    return replace(RETRIES, maximum_attempts=min(node.retry.max_attempts + MAX_LOST_ATTEMPTS, MAX_ATTEMPTS))
