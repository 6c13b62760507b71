"""The tasks that a checkpoint has due. Pure functions."""

from __future__ import annotations

from collections.abc import Container

from stepgraph.engine.checkpoint import Checkpoint, CheckpointData, Task
from stepgraph.engine.constants import START
from stepgraph.engine.spec import GraphSpec


def plan(checkpoint: Checkpoint | CheckpointData) -> tuple[Task, ...]:
    """Return the tasks due at a checkpoint, sorted by node name. Their writes are applied in this order.

    The tasks follow from the checkpoint alone, without the graph's spec: a thread stays readable after its graph has
    changed.
    """
    return tuple(
        Task(id=node, node=node, checkpoint_id=checkpoint.id, step=checkpoint.step + 1)
        for node in sorted(checkpoint.triggers)
    )


def nodes_to_run(checkpoint: Checkpoint | CheckpointData, finished: Container[str]) -> tuple[str, ...]:
    """Return the nodes that a checkpoint still has to run.

    Args:
        checkpoint: whose tasks are due.
        finished: ids of the tasks that have finished. If it holds all of them, only their commit is missing, because it
            failed: all nodes are returned, so that a thread which is not done never looks done.
    """
    tasks = plan(checkpoint)
    unfinished = tuple(task.node for task in tasks if task.id not in finished)
    return unfinished or tuple(task.node for task in tasks)


def is_virtual(spec: GraphSpec, task: Task) -> bool:
    """Return whether a task runs no user code: it is the start node's, and no router decides where the graph begins."""
    return task.node == START and not spec.enters_by_router
