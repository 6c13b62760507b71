"""The hand-over that a run leaves behind, however it ends: what the thread's next run goes on from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from stepgraph.channels import Channels
from stepgraph.codec import json_size
from stepgraph.engine.checkpoint import Checkpoint, CheckpointData, TaskFailure, TaskResult
from stepgraph.engine.plan import names_to_run
from stepgraph.engine.thread import Thread
from stepgraph.spec import GraphSpec

RECORD_LIMIT = 1_950_000
"""Bytes of JSON that a result, or a failure's details, can carry for certain."""

SHORT_TEXT = 500
"""Characters left of each failure's message in a record that grew too large."""


class Record(BaseModel):
    """A thread's head with everything needed to go on from it. The values come first, for people who read it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    values: dict[str, Any]
    next: tuple[str, ...]
    checkpoint: CheckpointData
    results: dict[str, TaskResult] = {}
    failures: dict[str, TaskFailure] = {}
    graph: str
    spec_hash: str
    thread_id: str
    run_id: str
    """The run that left the record."""
    omitted: tuple[str, ...] = ()
    """Parts left out of a record that grew too large: ``writes``, then ``results`` (those tasks run again)."""
    format: Literal[1] = 1


def record_of(thread: Thread) -> Record | None:
    """What the thread's next run needs; `None` for a thread that has no checkpoint yet."""
    head = thread.head
    if head is None:
        return None
    outcomes = thread.outcomes(head)  # in the order of the tasks, whichever finished first
    record = Record(
        values=thread.state,
        next=names_to_run(head, thread.results),
        checkpoint=CheckpointData(
            id=head.id,
            parent_id=head.parent_id,
            step=head.step,
            source=head.source,
            created_at=head.created_at,
            triggers=head.triggers,
            joins=dict(head.joins),
            writes=None if head.writes is None else dict(head.writes),
            input=None if head.input is None else dict(head.input),
        ),
        results={task.id: result for task, result, _ in outcomes if result is not None},
        failures={task.id: failure for task, _, failure in outcomes if failure is not None},
        graph=thread.spec.name,
        spec_hash=thread.spec.hash,
        thread_id=thread.thread_id,
        run_id=thread.run_id,
    )
    return _within_limit(record)


def thread_from(
    record: Record | None,
    spec: GraphSpec,
    channels: Channels,
    *,
    thread_id: str,
    run_id: str,
    clock: Callable[[], str],
) -> Thread:
    """A new run's thread, with the record's head as its base."""
    if record is None:
        return Thread(spec, channels, thread_id=thread_id, run_id=run_id, clock=clock)
    head = record.checkpoint
    base = Checkpoint(
        id=head.id,
        parent_id=head.parent_id,
        step=head.step,
        source=head.source,
        created_at=head.created_at,
        values=channels.decode(record.values),
        triggers=head.triggers,
        joins=head.joins,
        writes=head.writes,
        input=head.input,
    )
    return Thread(
        spec,
        channels,
        thread_id=thread_id,
        run_id=run_id,
        clock=clock,
        base=base,
        results=record.results,
        failures=record.failures,
    )


def _within_limit(record: Record) -> Record:
    """The record without the parts that can be had otherwise, as far as its size demands."""
    if json_size(record) > RECORD_LIMIT and record.failures:
        shortened = {
            task: failure.model_copy(update={"error_message": failure.error_message[:SHORT_TEXT], "traceback": ""})
            for task, failure in record.failures.items()
        }
        record = record.model_copy(update={"failures": shortened})
    if json_size(record) > RECORD_LIMIT:
        checkpoint = record.checkpoint.model_copy(update={"writes": None})
        record = record.model_copy(update={"checkpoint": checkpoint, "omitted": ("writes",)})
    if json_size(record) > RECORD_LIMIT and record.results:
        everything = names_to_run(record.checkpoint, ())
        record = record.model_copy(update={"results": {}, "next": everything, "omitted": ("writes", "results")})
    return record
