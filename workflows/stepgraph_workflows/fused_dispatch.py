"""Fused super-steps as one Temporal activity, for nodes whose durability is ``"async"`` or ``"exit"``."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ActivityError

from stepgraph.engine.checkpoint import Checkpoint, Task
from stepgraph.engine.thread import Thread
from stepgraph.errors import StepgraphError, UnknownFormatError
from stepgraph.protocol.activity_input import to_activity_input
from stepgraph.protocol.fused_run import FusedStepsRequest, FusedStepsResult
from stepgraph.protocol.names import steps_type
from stepgraph.protocol.opening import RunSettings
from stepgraph.temporal.payloads import from_raw, to_raw
from stepgraph_workflows.task_dispatch import (
    CANCELLED,
    RETRIES,
    START_NODE,
    failure_of,
    travels_inline,
    unreadable_answer,
)

MAX_RESULT_BYTES = 250_000
"""Bytes of results after which no further super-step begins: they travel in one payload, and in heartbeats."""

GRACE = timedelta(minutes=1)
"""How much longer the activity may take than its slowest node: the worker enforces the node's own timeout.

An activity that takes longer, because its nodes are retried, is attempted again. That attempt goes on from the progress
of the one before it.
"""

EXIT_TIME = timedelta(hours=1)
"""How long super-steps are fused where durability is ``"exit"``: until the thread stands still, unless that takes
longer than this, or their results have `MAX_RESULT_BYTES`."""

REPLAY_COST = 0.25
"""What a fused super-step adds to the length of a run, in super-steps with activities of their own."""


def can_fuse(thread: Thread, tasks: tuple[Task, ...]) -> bool:
    """Return whether the head's tasks may run together with later super-steps. None of them may have begun."""
    has_begun = thread.results or thread.failures or thread.interrupts
    return not has_begun and all(thread.spec.fuses(task.node, thread.durability) for task in tasks)


async def run_fused(thread: Thread, settings: RunSettings, config: dict[str, Any], max_steps: int) -> FusedStepsResult:
    """Execute up to ``max_steps`` super-steps from the head. If the activity fails, every task of the head fails."""
    spec, durability = thread.spec, thread.durability
    nodes = [node for node in spec.nodes if spec.fuses(node.name, durability)] or [START_NODE]
    slowest = timedelta(seconds=max(node.timeout for node in nodes))
    try:
        answer = await workflow.execute_activity(
            steps_type(thread.spec.name),
            to_raw(to_activity_input(_request(thread, settings, config, max_steps))),
            result_type=RawValue,
            task_queue=settings.task_queue,
            start_to_close_timeout=slowest + GRACE + (EXIT_TIME if _is_exit(thread) else timedelta()),
            heartbeat_timeout=timedelta(seconds=min(node.heartbeat_timeout for node in nodes)),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            retry_policy=RETRIES,
            summary=f"steps from {_head(thread).step + 1}",
        )
        return FusedStepsResult.model_validate(from_raw(answer))
    except ActivityError as error:
        failure = failure_of(error)
    except (ValueError, UnknownFormatError) as error:  # pydantic's, too
        failure = unreadable_answer("fused super-steps", error)
    return FusedStepsResult(failures={task.id: failure for task, _, _ in thread.task_outcomes(_head(thread))})


def without_cancelled(result: FusedStepsResult) -> FusedStepsResult:
    """Return the result without the failures of cancelled tasks: they have not failed, and run again later."""
    failures = {task: failure for task, failure in result.failures.items() if failure.error_type != CANCELLED}
    return result.model_copy(update={"failures": failures})


def commit_fused(thread: Thread, result: FusedStepsResult) -> None:
    """Commit the super-steps that were executed, and keep the outcomes of the one that was not complete.

    Raises:
        StepgraphError: the worker executed other tasks than this process plans; or whatever a commit raises.
    """
    for step in result.steps:
        due = {task.id for task, _, _ in thread.task_outcomes(_head(thread))}
        if due != step.results.keys():
            raise StepgraphError(
                f"Graph {thread.spec.name!r} ran {sorted(step.results)} where {sorted(due)} were due: the "
                "versions of stepgraph in its worker processes differ. Fix that, then resume the thread."
            )
        thread.commit_results(step.results, step.applied, created_at=step.at)
    for task, _, _ in thread.task_outcomes(_head(thread)):
        if task.id in result.results:
            thread.start(task)
            thread.finish(task, result.results[task.id])
        elif task.id in result.failures:
            thread.fail(task, result.failures[task.id])


def _request(thread: Thread, settings: RunSettings, config: dict[str, Any], max_steps: int) -> FusedStepsRequest:
    return FusedStepsRequest(
        graph=thread.spec.name,
        thread_id=thread.thread_id,
        run_id=thread.run_id,
        spec_hash=thread.spec.hash,
        head=_head(thread).to_data().model_copy(update={"writes": None}),
        state=thread.state if travels_inline(thread, settings) else None,
        checkpoints_made=thread.checkpoints_numbered,
        steps_left=thread.steps_left,
        breaks=thread.breaks,
        passes_breakpoint=thread.passes_breakpoint,
        durability=thread.durability,
        config=config,
        max_steps=max_steps if _is_exit(thread) else min(settings.fused_steps, max_steps),
        max_seconds=EXIT_TIME.total_seconds() if _is_exit(thread) else settings.fused_seconds,
        max_bytes=MAX_RESULT_BYTES,
        storage=settings.uses_external_storage,
    )


def _is_exit(thread: Thread) -> bool:
    """Return whether super-steps are recorded once the thread stands still."""
    return (thread.durability or thread.spec.durability) == "exit"


def _head(thread: Thread) -> Checkpoint:
    assert thread.head is not None, "the caller has a task of the head"
    return thread.head
