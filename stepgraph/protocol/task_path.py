"""How LangGraph names a task beside its id: by its path, its triggers and its checkpoint namespace.

`PregelTask.path` and the ``langgraph_...`` keys in a node's ``config["metadata"]`` have these names. LangGraph derives
them from the channels by which it triggers nodes. Here they are derived from the spec, and decide nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from stepgraph.engine.checkpoint import Task
from stepgraph.engine.constants import START
from stepgraph.engine.spec import GraphSpec

PULL = "__pregel_pull"
"""The first part of the path of a task that its node's edges have triggered."""

PUSH = "__pregel_push"
"""The first part of the path of a task that another task has sent."""

TaskPath = tuple[str | int, ...]
"""``("__pregel_pull", "<node>")``, or ``("__pregel_push", <number among the tasks that were sent>)``."""


def path_of(node: str, sent_number: int | None) -> TaskPath:
    """Return a task's path. ``sent_number`` is its place among the tasks that were sent; `None` if it was triggered."""
    return (PULL, node) if sent_number is None else (PUSH, sent_number)


def namespace_of(node: str, task_id: str) -> str:
    """Return a task's checkpoint namespace, in which LangGraph keeps the checkpoints of a graph inside of the task."""
    return f"{node}:{task_id}"


def sent_numbers(tasks: Sequence[Task]) -> dict[str, int]:
    """Return the place of each sent task among the sent tasks of its checkpoint, by task id."""
    return {task.id: number for number, task in enumerate(task for task in tasks if task.sent)}


def triggers_of(spec: GraphSpec, node: str, sent_number: int | None) -> tuple[str, ...]:
    """Return the names of all channels that trigger a node, as LangGraph has them: ``branch:to:c``, ``join:a+b:c``."""
    if sent_number is not None:
        return (PUSH,)
    if node == START:
        return (START,)
    joins = (f"join:{'+'.join(join.sources)}:{node}" for join in spec.joins if join.target == node)
    return tuple(sorted((f"branch:to:{node}", *joins)))
