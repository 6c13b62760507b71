"""The latest checkpoints of a long run, stored in its record: clients read them there, without a replay of the run."""

from __future__ import annotations

import itertools

from stepgraph.engine.changes import difference
from stepgraph.engine.checkpoint import Checkpoint
from stepgraph.engine.commit import entries_of, writes_by_node
from stepgraph.engine.record import RECORD_LIMIT, RecentCheckpoint, Record
from stepgraph.engine.task_outcomes import TaskOutcomes
from stepgraph.engine.thread_view import ThreadView
from stepgraph.serde.plain_json import json_size

SHORT_RUN = 50
"""Checkpoints up to which a replay of the run is cheap, so that the record needs none of them."""

RECENT_STEPS = 12
"""Checkpoints that are stored at most."""

RECENT_BYTES = 32_000
"""Bytes of JSON that the stored checkpoints may have in all."""


def with_recent_history(record: Record | None, thread: ThreadView) -> Record | None:
    """Return the record of a thread's head with the checkpoints before the head.

    Each is stored with the difference of its values from those of the next newer one. The record of a short run is
    returned unchanged.
    """
    if record is None or thread.head is None or len(thread.checkpoints) <= SHORT_RUN:
        return record
    bytes_left = min(RECENT_BYTES, RECORD_LIMIT - json_size(record))
    recent: list[RecentCheckpoint] = []
    newer = thread.head
    for checkpoint in itertools.islice(thread.newest_first(), 1, RECENT_STEPS + 1):
        outcomes = thread.outcomes_at(checkpoint)
        committed = _results_equal_writes(outcomes, checkpoint, newer)
        entry = RecentCheckpoint(
            checkpoint=checkpoint.to_data(),
            committed=committed,
            results={} if committed else outcomes.results,
            failures=outcomes.failures,
            interrupts=outcomes.interrupts,
            difference=difference(newer.values, checkpoint.values),
        )
        bytes_left -= json_size(entry)
        if bytes_left < 0:
            break
        recent.append(entry)
        newer = checkpoint
    return record.model_copy(update={"recent": tuple(recent)})


def _results_equal_writes(outcomes: TaskOutcomes, checkpoint: Checkpoint, newer: Checkpoint) -> bool:
    """Return whether the results of a checkpoint's tasks can be read from the writes of the next newer checkpoint."""
    written = writes_by_node(entries_of(checkpoint, outcomes.results))
    return newer.parent_id == checkpoint.id and newer.source == "loop" and written == newer.writes
