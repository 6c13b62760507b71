"""Drives a `Thread` without a runner: folds with the graph's own reducers where a commit or an update needs them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stepgraph.engine.changes import NOTHING, Change, change_of, without_write
from stepgraph.engine.checkpoint import Checkpoint, TaskResult
from stepgraph.engine.commit import NOTHING_APPLIED
from stepgraph.engine.folding import Applied, Entry, Unfolded, writes_of
from stepgraph.engine.folds import is_overwrite
from stepgraph.engine.spec import GraphSpec
from stepgraph.engine.state_update import PlannedUpdate, Update, UpdateSource, unfolded_by
from stepgraph.engine.task_outcomes import TaskOutcomes
from stepgraph.engine.thread import Thread
from stepgraph.execution.channels import Channels


def folded(channels: Channels, unfolded: Unfolded | None) -> Applied:
    """Return what the graph's reducers make of the writes that the engine could not fold."""
    if unfolded is None:
        return NOTHING_APPLIED
    return Applied(changes=changes_of(channels, unfolded.channels, unfolded.values, unfolded.entries))


def changes_of(
    channels: Channels, names: Iterable[str], values: Mapping[str, Any], entries: Sequence[Entry]
) -> dict[str, Change]:
    """Return the changes that all writes of a super-step make to some channels with a custom fold."""
    changes = {}
    for name in names:
        channel, before = channels[name], values.get(name, NOTHING)
        assert channel.custom_fold is not None
        value = channel.zero() if before is NOTHING else channel.decode(before)
        batch = [channel.decode_write(write.value) for write in writes_of(entries) if write.channel == name]
        value = channel.custom_fold.fold(value, batch)
        changes[name] = change_of(before, NOTHING if value is NOTHING else channel.codec.encode(value))
    return changes


def with_changes(
    spec: GraphSpec, channels: Channels, values: Mapping[str, Any], node: str, result: TaskResult
) -> TaskResult:
    """Return a result with the changes that a node's activity makes from these values."""
    own = {
        name: [write[name] for write in result.writes if name in write]
        for name in spec.custom_channels
        if name in result.channels
    }
    names = [name for name, writes in own.items() if not any(map(is_overwrite, writes))]
    changes = changes_of(channels, names, values, [Entry(node, node, result)])
    stored = {
        name: without_write(change, own[name][0]) if len(own[name]) == 1 else change for name, change in changes.items()
    }
    return result.model_copy(update={"changes": stored})


def commit(thread: Thread, channels: Channels) -> Checkpoint:
    """Commit the tasks at the head, all of which have finished."""
    return thread.commit(folded(channels, thread.unfolded()))


def write_input(thread: Thread, channels: Channels, input_data: Mapping[str, Any]) -> Checkpoint:
    """Make a checkpoint from an input, and the next one, at which the first nodes are due."""
    thread.accept_input(input_data)
    assert thread.due() == ()
    return commit(thread, channels)


def update(
    thread: Thread,
    channels: Channels,
    target: Checkpoint | None,
    updates: Sequence[Update] = (),
    *,
    source: UpdateSource = "update",
    target_outcomes: TaskOutcomes | None = None,
) -> Checkpoint:
    """Write values at a checkpoint, or, without updates, have its tasks run again."""
    return make(thread, channels, thread.plan_update(target, updates, target_outcomes), source=source)


def make(thread: Thread, channels: Channels, planned: PlannedUpdate, *, source: UpdateSource = "update") -> Checkpoint:
    """Make the updates that were planned."""
    return thread.update(planned, folded(channels, unfolded_by(thread.spec, planned)), source=source)
