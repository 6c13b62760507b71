"""The latest checkpoints of a long run, kept beside its record: to show them, nobody has to replay the run."""

from __future__ import annotations

import itertools

from stepgraph.engine.checkpoint import Checkpoint
from stepgraph.engine.difference import difference
from stepgraph.engine.record import RECORD_LIMIT, RecentCheckpoint, Record
from stepgraph.engine.task_outcomes import TaskOutcomes
from stepgraph.engine.thread import Thread
from stepgraph.serde.plain_json import json_size

SHORT_RUN = 50
"""Checkpoints up to which a replay is cheap, so that nothing is kept."""

RECENT_STEPS = 12
RECENT_BYTES = 32_000
"""How much is kept, at the most."""


def with_recent_history(record: Record | None, thread: Thread) -> Record | None:
    """The record of a thread's head with the checkpoints before it, each as what tells it from the one after."""
    if record is None or thread.head is None or len(thread.checkpoints) <= SHORT_RUN:
        return record
    room = min(RECENT_BYTES, RECORD_LIMIT - json_size(record))
    kept: list[RecentCheckpoint] = []
    newer = thread.head
    for checkpoint in itertools.islice(thread.newest_first(), 1, RECENT_STEPS + 1):
        left = thread.outcomes_at(checkpoint)
        each = RecentCheckpoint(
            checkpoint=checkpoint.to_data(),
            committed=(committed := _tells_all(newer, checkpoint, left)),
            results={} if committed else left.results,
            failures=left.failures,
            interrupts=left.interrupts,
            difference=difference(thread.channels, newer.values, checkpoint.values),
        )
        room -= json_size(each)
        if room < 0:
            break
        kept.append(each)
        newer = checkpoint
    return record.model_copy(update={"recent": tuple(kept)})


def _tells_all(newer: Checkpoint, checkpoint: Checkpoint, left: TaskOutcomes) -> bool:
    """Whether a checkpoint's tasks left just what the one after it says was written."""
    written = {task.node: result.merged for task, result, _ in left.by_task(checkpoint) if result is not None}
    return newer.parent_id == checkpoint.id and newer.source == "loop" and written == newer.writes
