"""The errors that a thread's next super-step, or the look-up of a checkpoint, may raise."""

from __future__ import annotations

from collections.abc import Sequence

from stepgraph.engine.checkpoint import Task
from stepgraph.engine.spec import GraphSpec
from stepgraph.errors import CheckpointNotFoundError, GraphRecursionError, MissingNodeError


def recursion_error(spec: GraphSpec, tasks: Sequence[Task], limit: int, step: int) -> GraphRecursionError:
    """Return the error for tasks that are due after the last super-step allowed, number ``step``."""
    return GraphRecursionError(
        f"Graph {spec.name!r} took the {limit} super-steps it was allowed and is not done "
        f"(next: {', '.join(repr(task.node) for task in tasks)}). If that is no endless loop, resume the "
        "thread, or set a higher 'recursion_limit' in the config.",
        limit=limit,
        step=step,
    )


def missing_node_error(spec: GraphSpec, task: Task, thread_id: str) -> MissingNodeError:
    """Return the error for a task whose node is not in the run's spec."""
    return MissingNodeError(
        f"Thread {thread_id!r} goes on at node {task.node!r}, which the spec of graph {spec.name!r} that this run was "
        f"started with ({spec.hash}) does not have. Resume the thread: its next run takes the spec of the worker's "
        "code. If that lacks the node, too, deploy code that has it, or have what follows another node planned: "
        "update_state(config, None, as_node='<the node before>').",
        graph=spec.name,
        node=task.node,
        thread_id=thread_id,
        worker_spec=spec.hash,
    )


def checkpoint_not_found_error(run_id: str, thread_id: str, checkpoint_id: str) -> CheckpointNotFoundError:
    """Return the error for a checkpoint that the run neither made nor began from."""
    return CheckpointNotFoundError(
        f"Run {run_id} of thread {thread_id!r} has no checkpoint {checkpoint_id!r}.",
        thread_id=thread_id,
        checkpoint_id=checkpoint_id,
    )
