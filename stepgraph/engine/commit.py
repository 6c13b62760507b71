"""Makes the next checkpoint from a checkpoint and the results of its tasks.

Pure functions. The order in which the tasks finished has no influence: writes are applied in the order of the tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stepgraph.engine.checkpoint import Checkpoint, Source, TaskResult
from stepgraph.engine.folding import Applied, Entry, Unfolded, fold, next_stamps, next_versions, unfolded
from stepgraph.engine.plan import joins_after, plan
from stepgraph.engine.spec import GraphSpec
from stepgraph.errors import StepgraphError

NOTHING_APPLIED = Applied()


def entries_of(checkpoint: Checkpoint, results: Mapping[str, TaskResult]) -> tuple[Entry, ...]:
    """Return the results of a checkpoint's finished tasks, in the order of the tasks."""
    return tuple(Entry(task.id, task.node, results[task.id]) for task in checkpoint.tasks if task.id in results)


def values_before(spec: GraphSpec, checkpoint: Checkpoint) -> Mapping[str, Any]:
    """Return the values that writes at a checkpoint are applied to: a channel without a value begins with its zero."""
    if all(name in checkpoint.values for name in spec.zeros):
        return checkpoint.values
    return {**spec.zeros, **checkpoint.values}


def unfolded_at(spec: GraphSpec, head: Checkpoint, results: Mapping[str, TaskResult]) -> Unfolded | None:
    """Return what only the graph's code can tell before a checkpoint's tasks are committed; `None` if nothing is."""
    entries = entries_of(head, results)
    return unfolded(spec, values_before(spec, head), head.versions, entries, step=head.step + 1)


def commit(
    spec: GraphSpec,
    head: Checkpoint,
    results: Mapping[str, TaskResult],
    applied: Applied = NOTHING_APPLIED,
    *,
    id: str,
    created_at: str,
    source: Source = "loop",
) -> Checkpoint:
    """Return the checkpoint that follows ``head``.

    Args:
        spec: the graph's spec.
        head: the checkpoint whose tasks have finished.
        results: the result of each of its tasks, by task id.
        applied: what the graph's code told of them, if `unfolded_at` asked.
        id: the new checkpoint's id.
        created_at: the new checkpoint's time, ISO 8601, UTC.
        source: why the new checkpoint is made.

    Raises:
        InvalidUpdateError: several tasks wrote to a channel without a reducer, or one wrote to an unknown channel.
        ReducerError: a built-in fold failed.
        StepgraphError: ``applied`` does not answer all that `unfolded_at` asked.
    """
    entries = with_applied(entries_of(head, results), applied)
    if any(entry.result.unrouted for entry in entries):
        raise StepgraphError(f"The routers of step {head.step + 1} have not been asked.")
    step = head.step + 1
    before = values_before(spec, head)
    values = fold(spec, before, head.versions, entries, applied.changes, step=step)
    triggered = [task.node for task in head.tasks if not task.sent]
    kept = joins_after(head.joins, triggered, head.deferred)
    tasks, joins, deferred = plan(spec, kept, entries, checkpoint_id=id, waiting=head.deferred)
    return Checkpoint(
        id=id,
        parent_id=head.id,
        step=step,
        source=source,
        created_at=created_at,
        values=values,
        tasks=tasks,
        joins=joins,
        deferred=deferred,
        writes=writes_by_node(entries),
        versions=next_versions(spec, head.versions, before, entries, id),
        stamps=next_stamps(spec, head.stamps, before, values, entries, applied),
    )


def with_applied(entries: Sequence[Entry], applied: Applied) -> tuple[Entry, ...]:
    """Return entries with the results that the graph's code completed."""
    return tuple(entry._replace(result=applied.results.get(entry.key, entry.result)) for entry in entries)


def writes_by_node(entries: Sequence[Entry]) -> dict[str, Any]:
    """Return what each node wrote, for snapshots; a list for a node that had several tasks."""
    by_node: dict[str, list[Any]] = {}
    for entry in entries:
        by_node.setdefault(entry.node, []).append(entry.result.merged)
    return {node: writes[0] if len(writes) == 1 else writes for node, writes in by_node.items()}
