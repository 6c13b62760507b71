"""Which tasks are due at a checkpoint. Pure."""

from __future__ import annotations

from collections.abc import Container

from stepgraph.engine.checkpoint import Checkpoint, CheckpointData, Task
from stepgraph.engine.constants import START
from stepgraph.engine.spec import GraphSpec


def plan(checkpoint: Checkpoint | CheckpointData) -> tuple[Task, ...]:
    """The tasks due at a checkpoint, in the order in which their writes will be applied: by name.

    A checkpoint says by itself what is due, so a thread stays readable whatever became of its graph.
    """
    return tuple(
        Task(id=node, node=node, checkpoint_id=checkpoint.id, step=checkpoint.step + 1)
        for node in sorted(checkpoint.triggers)
    )


def nodes_to_run(checkpoint: Checkpoint | CheckpointData, finished: Container[str]) -> tuple[str, ...]:
    """The nodes that a head still has to run, when the tasks with the ids in ``finished`` have.

    All of them, when all have finished: what is left then is their commit, which failed.
    """
    tasks = plan(checkpoint)
    left = tuple(task.node for task in tasks if task.id not in finished)
    return left or tuple(task.node for task in tasks)


def is_virtual(spec: GraphSpec, task: Task) -> bool:
    """Whether the task needs no code run: the start node of a graph that is entered by plain edges."""
    return task.node == START and not spec.enters_by_router
