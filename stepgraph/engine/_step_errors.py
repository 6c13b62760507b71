"""The errors of a thread that cannot go on, each with its mend."""

from __future__ import annotations

from collections.abc import Sequence

from stepgraph.engine.checkpoint import Task
from stepgraph.engine.spec import GraphSpec
from stepgraph.errors import CheckpointNotFoundError, GraphRecursionError, MissingNodeError


def used_up(spec: GraphSpec, tasks: Sequence[Task], limit: int) -> GraphRecursionError:
    """Tasks are due, but the super-steps allowed are used up."""
    return GraphRecursionError(
        f"Graph {spec.name!r} took the {limit} super-steps it was allowed and is not done "
        f"(next: {', '.join(repr(task.node) for task in tasks)}). If that is no endless loop, resume the "
        "thread, or set a higher 'recursion_limit' in the config.",
        limit=limit,
        step=tasks[0].step - 1,
    )


def missing_node(spec: GraphSpec, task: Task, thread_id: str) -> MissingNodeError:
    """A task is due whose node the run's spec does not have."""
    return MissingNodeError(
        f"Thread {thread_id!r} goes on at node {task.node!r}, but graph {spec.name!r} "
        f"({spec.hash}) has no such node. Deploy a worker that has it, then resume the thread.",
        graph=spec.name,
        node=task.node,
        thread_id=thread_id,
        worker_spec=spec.hash,
    )


def no_checkpoint(run_id: str, thread_id: str, checkpoint_id: str) -> CheckpointNotFoundError:
    """The run neither made the checkpoint nor took it over."""
    return CheckpointNotFoundError(
        f"Run {run_id} of thread {thread_id!r} has no checkpoint {checkpoint_id!r}.",
        thread_id=thread_id,
        checkpoint_id=checkpoint_id,
    )
