"""Super-steps in a row as one Temporal activity, for nodes whose durability is ``"async"``."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic import ValidationError
from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ActivityError

from stepgraph.engine.checkpoint import Checkpoint, Task, TaskFailure
from stepgraph.engine.record import data_of
from stepgraph.engine.thread import Thread
from stepgraph.errors import StepgraphError
from stepgraph.execution.activity_input import abridged
from stepgraph.execution.fused_steps import StepsAnswer, StepsRequest
from stepgraph.protocol.wire import Settings, steps_type
from stepgraph.temporal.payloads import from_raw, to_raw
from stepgraph_workflows.task_dispatch import CANCELLED, ENTRY_ROUTER, failure_of, travels_inline

MAX_BYTES = 250_000
"""Bytes of results after which no other super-step is begun: they travel in one payload, and in heartbeats."""

GRACE = timedelta(minutes=1)
"""Beyond a node's own timeout, which is kept by the worker."""

COST = 0.25
"""What a super-step in a row adds to the length of a run, in super-steps of their own: it is a quarter to replay."""


def may_fuse(thread: Thread, tasks: tuple[Task, ...]) -> bool:
    """Whether the head's tasks, none of which has been begun, may be run together with those after them."""
    begun = thread.results or thread.failures or thread.interviews
    return not begun and all(thread.spec.fuses(task.node) for task in tasks)


async def run_in_a_row(thread: Thread, settings: Settings, config: dict[str, Any], room: int) -> StepsAnswer:
    """Has up to ``room`` super-steps run, from the head on.

    A failure of the activity itself is told as one of each of the head's tasks.
    """
    nodes = [node for node in thread.spec.nodes if thread.spec.fuses(node.name)] or [ENTRY_ROUTER]
    try:
        answer = await workflow.execute_activity(
            steps_type(thread.spec.name),
            to_raw(abridged(_request(thread, settings, config, room))),
            result_type=RawValue,
            start_to_close_timeout=timedelta(seconds=max(node.timeout for node in nodes)) + GRACE,
            heartbeat_timeout=timedelta(seconds=min(node.heartbeat_timeout for node in nodes)),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            retry_policy=RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1)),
            summary=f"steps from {_head(thread).step + 1}",
        )
        return StepsAnswer.model_validate(from_raw(answer))
    except ActivityError as error:
        why = failure_of(error)
    except (ValidationError, ValueError) as error:
        why = TaskFailure(
            error_type="builtins:TypeError",
            error_message=f"The worker answered what are no super-steps, so it runs another version: {error}",
        )
    return StepsAnswer(failures={task.id: why for task, _, _ in thread.outcomes(_head(thread))})


def without_cancelled(answer: StepsAnswer) -> StepsAnswer:
    """The answer without the failures of tasks that were stopped, which did not fail: they are to be run again."""
    failures = {task: why for task, why in answer.failures.items() if why.error_type != CANCELLED}
    return answer.model_copy(update={"failures": failures})


def take_over(thread: Thread, answer: StepsAnswer) -> None:
    """Commits what was run, and keeps what was begun. Raises what a commit raises."""
    for step in answer.steps:
        tasks = {task.id for task, _, _ in thread.outcomes(_head(thread))}
        if tasks != step.results.keys():
            raise StepgraphError(
                f"Graph {thread.spec.name!r} ran {sorted(step.results)} where {sorted(tasks)} were due: its reducers "
                "or its code differ between worker processes. Mend that, then resume the thread."
            )
        thread.take(step.results, created_at=step.at)
    for task, _, _ in thread.outcomes(_head(thread)):
        if task.id in answer.results:
            thread.start(task)
            thread.finish(task, answer.results[task.id])
        elif task.id in answer.failures:
            thread.fail(task, answer.failures[task.id])


def _request(thread: Thread, settings: Settings, config: dict[str, Any], room: int) -> StepsRequest:
    return StepsRequest(
        graph=thread.spec.name,
        thread_id=thread.thread_id,
        run_id=thread.run_id,
        spec_hash=thread.spec.hash,
        head=data_of(_head(thread)).model_copy(update={"writes": None}),
        state=thread.state if travels_inline(thread, settings) else None,
        made=len(thread.made),
        steps_left=thread.steps_left,
        breaks=thread.breaks,
        passed=thread.passes_on,
        config=config,
        max_steps=min(settings.fused_steps, room),
        max_seconds=settings.fused_seconds,
        max_bytes=MAX_BYTES,
        stored=settings.stored,
    )


def _head(thread: Thread) -> Checkpoint:
    assert thread.head is not None
    return thread.head
