"""`StateSnapshot`: what users read of a checkpoint.

Owns the shape of a snapshot and its JSON form, which queries return. Makes that JSON form of a thread, or of the record
that a closed thread left, and does not know where they come from. LangGraph's names and meanings:
https://docs.langchain.com/oss/python/langgraph/persistence
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, NotRequired, Protocol, TypeAlias, TypedDict

from stepgraph.engine.checkpoint import (
    SEVERAL,
    Checkpoint,
    CheckpointData,
    InterruptRequest,
    Source,
    Task,
    TaskResult,
    as_shown,
)
from stepgraph.engine.plan import nodes_to_run
from stepgraph.engine.record import RecentCheckpoint, Record, outcomes_from
from stepgraph.engine.task_outcomes import Outcome
from stepgraph.engine.thread_view import ThreadView
from stepgraph.protocol.config import RunnableConfig
from stepgraph.protocol.interrupts import Interrupt
from stepgraph.protocol.root_value import unwrapped
from stepgraph.protocol.task_path import TaskPath, path_of, sent_numbers
from stepgraph.serde.json_values import JsonValues


class Decoder(Protocol):
    """Turns recorded JSON data into values of the types that a state declares."""

    def readable(
        self, encoded: Mapping[str, Any], stamps: Mapping[str, str] | None
    ) -> tuple[dict[str, Any], list[str]]:
        """Return the values of a checkpoint, and why some of them stay JSON data."""

    def readable_write(self, name: str, encoded: Any, stamp: str | None) -> Any:
        """Return what a node wrote to a channel; JSON data if it does not come back unchanged.

        ``stamp`` is that of the channel's value.
        """


MaybeNone: TypeAlias = Any
"""Stands for `None` in a union where a type checker should not ask every user to rule it out."""


class CheckpointMetadata(TypedDict):
    """What is known of a checkpoint beside its values."""

    source: Source
    step: int
    writes: dict[str, Any] | None
    """By node, what was written to get from the parent to this checkpoint."""
    forked_from: NotRequired[dict[str, Any]]
    """``thread_id`` and ``checkpoint_id`` of the parent, if it is on another thread."""


class TaskSnapshot(NamedTuple):
    """One task of a checkpoint, and its outcome."""

    id: str
    name: str
    path: TaskPath
    """``("__pregel_pull", "<node>")``, as in LangGraph."""
    error: str | None = None
    """Why the task failed: ``repr()`` of the exception, ``ConnectionError('no route')``."""
    interrupts: tuple[Interrupt, ...] = ()
    state: None = None
    """In LangGraph, the state of a subgraph."""
    result: Any = None
    """What the task wrote: ``{}`` if it finished and wrote nothing, `None` if it has not finished."""


class StateSnapshot(NamedTuple):
    """The state of a thread at one checkpoint."""

    values: dict[str, Any] | MaybeNone
    """By channel; in a state of one value, that value."""
    next: tuple[str, ...]
    """The nodes that run next; empty if the graph has finished."""
    config: RunnableConfig
    """The config that names this checkpoint: ``{"configurable": {"thread_id", "checkpoint_id"}}``."""
    metadata: CheckpointMetadata | MaybeNone = None
    """`None` for a thread that does not exist."""
    created_at: str | None = None
    """ISO 8601, UTC."""
    parent_config: RunnableConfig | None = None
    tasks: tuple[TaskSnapshot, ...] = ()
    interrupts: tuple[Interrupt, ...] = ()
    """At the head, the interrupts that wait for an answer. In a history, or for a checkpoint that is read by its id,
    the last interrupt of each task, answered or not."""
    errors: tuple[str, ...] = ()
    """At the head of an open thread: why signals were refused. At that of a closed one: why the latest run was refused,
    or why it failed if that was no task's failure. With the graph's code: which values do not come back
    unchanged under the types that it declares; these are JSON data."""

    @property
    def checkpoint_id(self) -> str | None:
        """The checkpoint's id; `None` for a thread that does not exist."""
        checkpoint_id: str | None = self.config["configurable"].get("checkpoint_id")
        return checkpoint_id


def config_for(thread_id: str, checkpoint_id: str | None = None) -> RunnableConfig:
    """Return the config that names a thread, or one of its checkpoints."""
    configurable = {"thread_id": thread_id}
    if checkpoint_id is not None:
        configurable["checkpoint_id"] = checkpoint_id
    return {"configurable": configurable}


def snapshot_data(thread: ThreadView, checkpoint: Checkpoint, *, as_head: bool = False) -> dict[str, Any]:
    """Return a checkpoint of a thread as a snapshot's JSON data.

    By default, it describes the checkpoint as it was made: the committed values, all tasks that were due, and the last
    interrupt of each. With ``as_head``, it describes the thread's current state: the values include pending writes,
    ``next`` names the nodes that have not finished, and only interrupts that wait for an answer are included.
    """
    outcomes = thread.task_outcomes(checkpoint)
    interrupts = thread.waiting_by_task() if as_head else thread.last_interrupts(checkpoint)
    pending = thread.pending_values() if as_head else {}
    values = thread.tracked({**checkpoint.values, **pending})
    stamps = {**checkpoint.stamps, **thread.pending_stamps(pending)}
    return _to_data(thread.thread_id, checkpoint, values, stamps, outcomes, interrupts, as_head=as_head)


def head_in_record(record: Record) -> dict[str, Any]:
    """Return a closed thread's head as a snapshot's JSON data, from the record of its last run: without a worker."""
    values = {**record.values, **record.pending_values}
    stamps = {**record.checkpoint.stamps, **record.pending_stamps}
    outcomes = outcomes_from(record)
    by_task = outcomes.by_task(record.checkpoint)
    waiting = outcomes.waiting_by_task()
    return _to_data(record.thread_id, record.checkpoint, values, stamps, by_task, waiting, as_head=True)


def history_in_record(record: Record) -> Iterator[dict[str, Any]]:
    """Yield the head and the checkpoints before it that the record has, newest first: without a worker."""
    yield _checkpoint_in_record(record, record, record.values)
    yield from recent_in_record(record, JsonValues.of(record.values))


def recent_in_record(record: Record, values: JsonValues) -> Iterator[dict[str, Any]]:
    """Yield the checkpoints before the head that the record has, newest first. ``values`` are the head's."""
    newer = record.checkpoint
    for recent in record.recent:
        values = recent.difference.apply(values)
        if recent.committed:  # the results are not stored twice: they are the writes of the checkpoint after it
            recent = recent.model_copy(update={"results": _results_in_writes(recent.checkpoint, newer)})
        yield _checkpoint_in_record(record, recent, values)
        newer = recent.checkpoint


def _results_in_writes(checkpoint: CheckpointData, newer: CheckpointData) -> dict[str, TaskResult]:
    """Return the results of a checkpoint's tasks, which the checkpoint after it has as its writes."""
    results = {}
    by_node: dict[str, list[Task]] = {}
    for task in checkpoint.tasks:
        by_node.setdefault(task.node, []).append(task)
    for node, tasks in by_node.items():
        writes = (newer.writes or {})[node]
        for task, write in zip(tasks, writes if len(tasks) > 1 else [writes], strict=True):
            results[task.id] = TaskResult(writes=(write,) if write is not None else ())
    return results


def _checkpoint_in_record(record: Record, part: Record | RecentCheckpoint, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return one checkpoint of a record. ``part`` has it: the record itself for the head, or one of ``recent``."""
    outcomes = outcomes_from(part)
    by_task, interrupts = outcomes.by_task(part.checkpoint), outcomes.last_interrupts()
    stamps = part.checkpoint.stamps
    return _to_data(record.thread_id, part.checkpoint, values, stamps, by_task, interrupts, as_head=False)


def empty_snapshot(thread_id: str) -> StateSnapshot:
    """Return the snapshot of a thread that does not exist."""
    return StateSnapshot({}, (), config_for(thread_id))


def snapshot_from(data: Mapping[str, Any], decoder: Decoder | None = None) -> StateSnapshot:
    """Return a snapshot from its JSON data; with a decoder, its values have the types of the state."""
    metadata: CheckpointMetadata = data["metadata"].copy()
    values, tasks, errors = data["values"], data["tasks"], list(data.get("errors", ()))
    if decoder is not None:
        values, problems = decoder.readable(values, data["stamps"])
        errors += problems
        stamps = data["stamps"]
        if metadata["writes"] is not None:
            metadata["writes"] = {
                node: _decode_writes(decoder, write, stamps) for node, write in metadata["writes"].items()
            }
        tasks = [{**task, "result": _decode_writes(decoder, task["result"], stamps)} for task in tasks]
    if metadata["writes"] is not None:
        metadata["writes"] = {node: _unwrapped_writes(write) for node, write in metadata["writes"].items()}
    tasks = [{**task, "result": unwrapped(task["result"])} for task in tasks]
    return StateSnapshot(
        values=unwrapped(values),
        next=tuple(data["next"]),
        config=data["config"],
        metadata=metadata,
        created_at=data["created_at"],
        parent_config=data["parent_config"],
        tasks=tuple(_task(task) for task in tasks),
        interrupts=_interrupts(data),
        errors=tuple(errors),
    )


def _task(data: Mapping[str, Any]) -> TaskSnapshot:
    return TaskSnapshot(**{**data, "path": tuple(data["path"]), "interrupts": _interrupts(data)})


def _interrupts(data: Mapping[str, Any]) -> tuple[Interrupt, ...]:
    return tuple(Interrupt(**interrupt) for interrupt in data["interrupts"])


def matches_filter(data: Mapping[str, Any], filter: Mapping[str, Any] | None) -> bool:
    """Return whether a snapshot's metadata have all the values of the filter; always true without a filter."""
    return all(data["metadata"].get(key) == value for key, value in (filter or {}).items())


def _to_data(
    thread_id: str,
    checkpoint: Checkpoint | CheckpointData,
    values: Mapping[str, Any],
    stamps: Mapping[str, str],
    outcomes: Sequence[Outcome],
    requests: Mapping[str, InterruptRequest],
    *,
    as_head: bool,
) -> dict[str, Any]:
    parent = checkpoint.parent_id
    writes = None if checkpoint.writes is None else dict(checkpoint.writes)
    metadata: CheckpointMetadata = {"source": checkpoint.source, "step": checkpoint.step, "writes": writes}
    if checkpoint.forked_from is not None:
        metadata["forked_from"] = config_for(checkpoint.forked_from, parent)["configurable"]
    finished = {task.id for task, result, _ in outcomes if result is not None}
    interrupts = {
        task_id: [{"value": request.value, "id": request.id, "deadline": request.deadline}]
        for task_id, request in requests.items()
    }
    numbers = sent_numbers(checkpoint.tasks)
    outcome_of = {outcome[0].id: outcome for outcome in outcomes}
    shown = [outcome_of[task.id] for task in as_shown(checkpoint.tasks)]
    return {
        "values": dict(values),
        "stamps": dict(stamps),
        "next": list(nodes_to_run(checkpoint, finished if as_head else ())),
        "config": config_for(thread_id, checkpoint.id),
        "metadata": metadata,
        "created_at": checkpoint.created_at,
        "parent_config": config_for(checkpoint.forked_from or thread_id, parent) if parent else None,
        "tasks": [
            {
                "id": task.id,
                "name": task.node,
                "path": list(path_of(task.node, numbers.get(task.id))),
                "error": failure.representation if failure else None,
                "interrupts": interrupts.get(task.id, []),
                "result": None if result is None else (result.merged or {}),
            }
            for task, result, failure in shown
        ],
        "interrupts": [interrupt for task, _, _ in shown for interrupt in interrupts.get(task.id, [])],
    }


def _unwrapped_writes(writes: Any) -> Any:
    """Return what a node wrote, or what each of its tasks wrote; in a state of one value, that value."""
    return [unwrapped(write) for write in writes] if isinstance(writes, list) else unwrapped(writes)


def _decode_writes(decoder: Decoder, writes: Any, stamps: Mapping[str, str]) -> Any:
    """Return what a node wrote, or what each of its tasks wrote, with values of the declared types."""
    if isinstance(writes, list):
        return [_decode_writes(decoder, write, stamps) for write in writes]
    if not isinstance(writes, Mapping):
        return writes
    decoded: dict[str, Any] = {}
    for name, value in writes.items():
        several = isinstance(value, Mapping) and value.keys() == {SEVERAL}
        if several:
            decoded[name] = {SEVERAL: [decoder.readable_write(name, item, stamps.get(name)) for item in value[SEVERAL]]}
        else:
            decoded[name] = decoder.readable_write(name, value, stamps.get(name))
    return decoded
