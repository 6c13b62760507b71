"""From a checkpoint and its tasks' results to the next checkpoint. Pure, and indifferent to who finished first."""

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
    """The checkpoint after all of ``head``'s tasks, whose results are given by task id.

    Raises:
        InvalidUpdateError: several values for a channel without a reducer.
        ReducerError: a reducer raised.
    """
    tasks = plan(head)
    step = head.step + 1
    before: Mapping[str, Any] = head.values
    if any(task.node == START for task in tasks):
        before = {**channels.zeros(), **head.values}
    return Checkpoint(
        id=id,
        parent_id=head.id,
        step=step,
        source=source,
        created_at=created_at,
        values=channels.fold(before, _writes(tasks, results), step=step),
        writes={task.node: results[task.id].merged for task in tasks},
        **advance(spec, head.joins, [(task.node, results[task.id].goto) for task in tasks]),
    )


def with_pending(channels: Channels, head: Checkpoint, results: Mapping[str, TaskResult]) -> Mapping[str, Any]:
    """The head's values with what its finished tasks wrote, as they stand; without, where that cannot be applied."""
    tasks = tuple(task for task in plan(head) if task.id in results)
    if not any(results[task.id].writes for task in tasks):
        return head.values
    try:
        return channels.fold(head.values, _writes(tasks, results), step=head.step + 1)
    except StepgraphError:  # the commit will say so
        return head.values


def advance(
    spec: GraphSpec, joins: Mapping[str, tuple[str, ...]], finished: list[tuple[str, tuple[str, ...]]]
) -> dict[str, Any]:
    """What the nodes that finished trigger, each given with where its routers lead: ``triggers`` and ``joins``."""
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
        for written in results[task.id].writes:
            for channel, value in written.items():
                yield Write(task.node, channel, value)
