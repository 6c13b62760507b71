"""Makes the next checkpoint from a checkpoint and the results of its tasks.

Pure functions. The order in which the tasks finished has no influence: writes are applied in the order of `plan`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stepgraph.engine.channels import Channels, Write
from stepgraph.engine.checkpoint import Checkpoint, Source, Task, TaskResult
from stepgraph.engine.constants import END, START
from stepgraph.engine.plan import plan
from stepgraph.engine.spec import GraphSpec
from stepgraph.errors import StepgraphError


def commit(
    spec: GraphSpec,
    channels: Channels,
    head: Checkpoint,
    results: Mapping[str, TaskResult],
    *,
    id: str,
    created_at: str,
    source: Source = "loop",
) -> Checkpoint:
    """Return the checkpoint that follows ``head``.

    Args:
        spec: the graph's spec.
        channels: the graph's channels.
        head: the checkpoint whose tasks have finished.
        results: the result of each of its tasks, by task id.
        id: the new checkpoint's id.
        created_at: the new checkpoint's time, ISO 8601, UTC.
        source: why the new checkpoint is made.

    Raises:
        InvalidUpdateError: several tasks wrote to a channel without a reducer.
        ReducerError: a reducer raised, or returned a value that its channel cannot hold.
    """
    tasks = plan(head)
    step = head.step + 1
    values: Mapping[str, Any] = head.values
    if any(task.node == START for task in tasks):
        values = {**channels.zeros(), **head.values}
    return Checkpoint(
        id=id,
        parent_id=head.id,
        step=step,
        source=source,
        created_at=created_at,
        values=channels.fold(values, _writes(tasks, results), step=step),
        writes={task.node: results[task.id].merged for task in tasks},
        **advance(spec, head.joins, [(task.node, results[task.id].goto) for task in tasks]),
    )


def apply_pending_writes(channels: Channels, head: Checkpoint, results: Mapping[str, TaskResult]) -> Mapping[str, Any]:
    """Return the head's values with the writes of its finished tasks applied.

    If the writes cannot be applied, return the head's values: the commit will raise the error.
    """
    tasks = tuple(task for task in plan(head) if task.id in results)
    if not any(results[task.id].writes for task in tasks):
        return head.values
    try:
        return channels.fold(head.values, _writes(tasks, results), step=head.step + 1)
    except StepgraphError:
        return head.values


def advance(
    spec: GraphSpec, joins: Mapping[str, tuple[str, ...]], finished: list[tuple[str, tuple[str, ...]]]
) -> dict[str, Any]:
    """Return what is due after some nodes have finished: the fields ``triggers`` and ``joins`` of the next checkpoint.

    Args:
        spec: the graph's spec.
        joins: for each join that is incomplete, its sources that had finished before.
        finished: the nodes that have finished, each with the destinations that its routers chose.
    """
    names = [node for node, _ in finished]
    triggers: list[str] = []
    for node, goto in finished:
        triggers += [*spec.targets(node), *goto]
    progress: dict[str, tuple[str, ...]] = {}
    for join in spec.joins:
        arrived = tuple(source for source in join.sources if source in names or source in joins.get(join.key, ()))
        if len(arrived) == len(join.sources):
            triggers.append(join.target)
        elif arrived:
            progress[join.key] = arrived
    return {"triggers": tuple(sorted({name for name in triggers if name != END})), "joins": progress}


def _writes(tasks: tuple[Task, ...], results: Mapping[str, TaskResult]) -> Iterator[Write]:
    for task in tasks:
        for values in results[task.id].writes:
            for channel, value in values.items():
                yield Write(task.node, channel, value)
