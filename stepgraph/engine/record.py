"""The hand-over that a run leaves behind, however it ends: what the thread's next run goes on from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from stepgraph.engine.channels import Channels
from stepgraph.engine.checkpoint import Checkpoint, CheckpointData, TaskFailure, TaskInterrupts, TaskResult
from stepgraph.engine.difference import Difference
from stepgraph.engine.plan import nodes_to_run
from stepgraph.engine.spec import GraphSpec
from stepgraph.engine.task_outcomes import TaskOutcomes
from stepgraph.engine.thread import Thread
from stepgraph.serde.plain_json import json_size
from stepgraph.serde.sizes import STORED_LIMIT

RECORD_LIMIT = 1_950_000
"""Bytes of JSON that a result, or a failure's details, can carry for certain."""

PENDING_LIMIT = 100_000
"""Bytes of pending values in a record: a channel in it is there a second time, beside the value it had before."""

STORED_RECORD_LIMIT = 4 * STORED_LIMIT
"""The same with external storage: a state, what made it, and results that wait for their siblings."""

SHORT_TEXT = 500
"""Characters left of each failure's message in a record that grew too large."""


class RecentCheckpoint(BaseModel):
    """A checkpoint before a record's head, with what became of its tasks."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    checkpoint: CheckpointData
    committed: bool = False
    """Its results are the writes of the checkpoint after it."""
    results: dict[str, TaskResult] = {}
    failures: dict[str, TaskFailure] = {}
    interrupts: dict[str, TaskInterrupts] = {}
    difference: Difference
    """From the values of the checkpoint after it."""


class Record(BaseModel):
    """A thread's head with everything needed to go on from it. The values come first, for people who read it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    values: dict[str, Any]
    next: tuple[str, ...]
    checkpoint: CheckpointData
    results: dict[str, TaskResult] = {}
    pending_values: dict[str, Any] = {}
    """The channels that those results change, as they would be after that: what `get_state` shows."""
    failures: dict[str, TaskFailure] = {}
    interrupts: dict[str, TaskInterrupts] = {}
    paused: bool = False
    """At a breakpoint."""
    graph: str
    spec_hash: str
    thread_id: str
    run_id: str
    """The run that left the record."""
    omitted: tuple[str, ...] = ()
    """Parts left out of a record that grew too large: ``pending_values``, ``writes``, then ``results``, whose tasks are
    run again."""
    recent: tuple[RecentCheckpoint, ...] = ()
    """Of a long run, the checkpoints before the head, newest first (`stepgraph.engine.recent_history`)."""
    format: Literal[1] = 1


def record_of(thread: Thread, checkpoint: Checkpoint | None = None) -> Record | None:
    """What the thread's next run needs; `None` for a thread that has no checkpoint yet.

    For another checkpoint than the head: what a fork of it needs.
    """
    checkpoint = checkpoint or thread.head
    if checkpoint is None:
        return None
    is_head = checkpoint is thread.head
    left = thread.uncommitted_at(checkpoint)
    outcomes = left.by_task(checkpoint)  # in the order of the tasks, whichever finished first
    results = {task.id: result for task, result, _ in outcomes if result is not None}
    record = Record(
        values=thread.state.to_data() if is_head else thread.channels.encode(checkpoint.values),
        next=nodes_to_run(checkpoint, results),
        checkpoint=checkpoint.to_data(),
        results=results,
        pending_values=thread.pending_values() if is_head else {},
        failures={task.id: failure for task, _, failure in outcomes if failure is not None},
        interrupts=left.interrupts,
        paused=is_head and thread.paused,
        graph=thread.spec.name,
        spec_hash=thread.spec.hash,
        thread_id=thread.thread_id,
        run_id=thread.run_id,
    )
    return _within_limit(record, STORED_RECORD_LIMIT if thread.uses_external_storage else RECORD_LIMIT)


def checkpoint_from(record: Record, channels: Channels) -> Checkpoint:
    """The checkpoint that a record is of."""
    return Checkpoint.from_data(record.checkpoint, channels.decode(record.values))


def outcomes_from(record: Record | RecentCheckpoint) -> TaskOutcomes:
    """What had become of the tasks."""
    return TaskOutcomes(dict(record.results), dict(record.failures), dict(record.interrupts))


def thread_from(
    record: Record | None,
    spec: GraphSpec,
    channels: Channels,
    *,
    thread_id: str,
    run_id: str,
    clock: Callable[[], str],
    uses_external_storage: bool = False,
) -> Thread:
    """A new run's thread, with the record's head as its base."""
    return Thread(
        spec,
        channels,
        thread_id=thread_id,
        run_id=run_id,
        clock=clock,
        uses_external_storage=uses_external_storage,
        base=checkpoint_from(record, channels) if record else None,
        outcomes=outcomes_from(record) if record else None,
    )


def _within_limit(record: Record, limit: int) -> Record:
    """The record without the parts that can be had otherwise, as far as its size demands."""
    if json_size(record) > limit and record.failures:
        shortened = {
            task: failure.model_copy(update={"error_message": failure.error_message[:SHORT_TEXT], "traceback": ""})
            for task, failure in record.failures.items()
        }
        record = record.model_copy(update={"failures": shortened})
    pending_limit = PENDING_LIMIT if limit == RECORD_LIMIT else limit
    if record.pending_values and (json_size(record.pending_values) > pending_limit or json_size(record) > limit):
        record = record.model_copy(update={"pending_values": {}, "omitted": ("pending_values",)})
    if json_size(record) > limit:
        checkpoint = record.checkpoint.model_copy(update={"writes": None})
        record = record.model_copy(update={"checkpoint": checkpoint, "omitted": (*record.omitted, "writes")})
    if json_size(record) > limit and record.results:
        everything = nodes_to_run(record.checkpoint, ())
        record = record.model_copy(update={"results": {}, "next": everything, "omitted": (*record.omitted, "results")})
    return record
