"""`StateSnapshot`: what a user sees of a checkpoint.

Owns the shape users read, and its JSON form as queries answer it. LangGraph's names and meanings:
https://docs.langchain.com/oss/python/langgraph/persistence
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError

from stepgraph.engine.channels import Channels
from stepgraph.engine.checkpoint import SEVERAL, Checkpoint, CheckpointData, InterruptRequest, TaskResult
from stepgraph.engine.plan import nodes_to_run, plan
from stepgraph.engine.record import RecentCheckpoint, Record, outcomes_from
from stepgraph.engine.task_outcomes import Outcome
from stepgraph.engine.thread import Thread
from stepgraph.errors import InvalidUpdateError
from stepgraph.protocol.interrupts import Interrupt
from stepgraph.serde.json_values import JsonValues


class TaskSnapshot(NamedTuple):
    """One task of a checkpoint, and what became of it."""

    id: str
    name: str
    error: str | None = None
    """Why it failed: ``ConnectionError: no route``."""
    interrupts: tuple[Interrupt, ...] = ()
    result: Any = None
    """What it wrote: ``{}`` if it finished and wrote nothing, `None` while it has not finished."""


class StateSnapshot(NamedTuple):
    """The state of a thread at one checkpoint."""

    values: dict[str, Any]
    next: tuple[str, ...]
    """The nodes that run next; empty when the graph is done."""
    config: dict[str, Any]
    """``{"configurable": {"thread_id", "checkpoint_id"}}``: names this checkpoint."""
    metadata: dict[str, Any] | None = None
    """``source``, ``step`` and ``writes``."""
    created_at: str | None = None
    """ISO 8601, UTC."""
    parent_config: dict[str, Any] | None = None
    tasks: tuple[TaskSnapshot, ...] = ()
    interrupts: tuple[Interrupt, ...] = ()
    """At the head those that wait for an answer. In a history, or at a checkpoint asked for by its id, what each task
    asked last, answered or not."""
    errors: tuple[str, ...] = ()
    """At the head of an open thread: why signals of this run could not be honoured."""

    @property
    def checkpoint_id(self) -> str | None:
        """The checkpoint's id; `None` for a thread that has none."""
        found: str | None = self.config["configurable"].get("checkpoint_id")
        return found


def config_for(thread_id: str, checkpoint_id: str | None = None) -> dict[str, Any]:
    """The config that names a thread, or one of its checkpoints."""
    configurable = {"thread_id": thread_id}
    if checkpoint_id is not None:
        configurable["checkpoint_id"] = checkpoint_id
    return {"configurable": configurable}


def view(thread: Thread, checkpoint: Checkpoint, *, as_head: bool = False) -> dict[str, Any]:
    """A checkpoint as queries answer it: a record of the step, with all its tasks and what they asked.

    As the head, it says how things stand: the values have what finished tasks wrote, ``next`` names what is still to
    run, and shown are the questions that wait for an answer.
    """
    outcomes = thread.task_outcomes(checkpoint)
    asked = thread.waiting_by_task() if as_head else thread.last_interrupts(checkpoint)
    values: Mapping[str, Any]
    if as_head:
        values = thread.values_with_pending_writes
    else:
        values = thread.state if checkpoint is thread.head else thread.channels.encode(checkpoint.values)
    return _view(thread.thread_id, checkpoint, values, outcomes, asked, as_head=as_head)


def head_in_record(record: Record) -> dict[str, Any]:
    """The head of a closed thread, from the record its last run left: no worker needed."""
    values = {**record.values, **record.pending_values}
    left = outcomes_from(record)
    outcomes = left.by_task(record.checkpoint)
    return _view(record.thread_id, record.checkpoint, values, outcomes, left.waiting_by_task(), as_head=True)


def history_in_record(record: Record) -> Iterator[dict[str, Any]]:
    """The head and the checkpoints before it, as far as a record has them, newest first: no worker needed."""
    yield _shown(record, record, record.values)
    yield from recent_in_record(record, JsonValues.of(record.values))


def recent_in_record(record: Record, values: JsonValues) -> Iterator[dict[str, Any]]:
    """The checkpoints before the head, whose values are given."""
    newer = record.checkpoint
    for past in record.recent:
        values = past.difference.apply(values)
        if past.committed:
            results = {
                task.id: TaskResult(writes=(written,) if written is not None else ())
                for task in plan(past.checkpoint)
                for written in [(newer.writes or {})[task.node]]
            }
            past = past.model_copy(update={"results": results})
        yield _shown(record, past, values)
        newer = past.checkpoint


def _shown(record: Record, of: Record | RecentCheckpoint, values: Mapping[str, Any]) -> dict[str, Any]:
    left = outcomes_from(of)
    return _view(
        record.thread_id, of.checkpoint, values, left.by_task(of.checkpoint), left.last_interrupts(), as_head=False
    )


def empty(thread_id: str) -> StateSnapshot:
    """The snapshot of a thread that does not exist."""
    return StateSnapshot({}, (), config_for(thread_id))


def snapshot_from(data: Mapping[str, Any], channels: Channels | None = None) -> StateSnapshot:
    """A snapshot from its JSON form; with a graph's channels, its values are of the declared types."""
    metadata = dict(data["metadata"])
    values = data["values"]
    tasks = data["tasks"]
    if channels is not None:
        values = channels.decode(values)
        if metadata["writes"] is not None:
            metadata["writes"] = {name: _typed(channels, write) for name, write in metadata["writes"].items()}
        tasks = [{**task, "result": _typed(channels, task["result"])} for task in tasks]
    return StateSnapshot(
        values=values,
        next=tuple(data["next"]),
        config=data["config"],
        metadata=metadata,
        created_at=data["created_at"],
        parent_config=data["parent_config"],
        tasks=tuple(TaskSnapshot(**{**task, "interrupts": _interrupts(task)}) for task in tasks),
        interrupts=_interrupts(data),
        errors=tuple(data.get("errors", ())),
    )


def _interrupts(data: Mapping[str, Any]) -> tuple[Interrupt, ...]:
    return tuple(Interrupt(**each) for each in data["interrupts"])


def matches(data: Mapping[str, Any], metadata: Mapping[str, Any] | None) -> bool:
    """Whether a checkpoint has all the metadata that a filter names."""
    return all(data["metadata"].get(key) == wanted for key, wanted in (metadata or {}).items())


def _view(
    thread_id: str,
    checkpoint: Checkpoint | CheckpointData,
    values: Mapping[str, Any],
    outcomes: Sequence[Outcome],
    asked: Mapping[str, InterruptRequest],
    *,
    as_head: bool,
) -> dict[str, Any]:
    parent = checkpoint.parent_id
    metadata: dict[str, Any] = {"source": checkpoint.source, "step": checkpoint.step, "writes": checkpoint.writes}
    if checkpoint.forked_from is not None:
        metadata["forked_from"] = config_for(checkpoint.forked_from, parent)["configurable"]
    finished = [task.id for task, result, _ in outcomes if result is not None]
    interrupts = {name: [{"value": ask.value, "id": ask.id, "deadline": ask.deadline}] for name, ask in asked.items()}
    return {
        "values": dict(values),
        "next": list(nodes_to_run(checkpoint, finished if as_head else ())),
        "config": config_for(thread_id, checkpoint.id),
        "metadata": metadata,
        "created_at": checkpoint.created_at,
        "parent_config": config_for(checkpoint.forked_from or thread_id, parent) if parent else None,
        "tasks": [
            {
                "id": task.id,
                "name": task.node,
                "error": failure.summary if failure else None,
                "interrupts": interrupts.get(task.id, []),
                "result": None if result is None else (result.merged or {}),
            }
            for task, result, failure in outcomes
        ],
        "interrupts": [each for task, _, _ in outcomes for each in interrupts.get(task.id, [])],
    }


def _typed(channels: Channels, write: Any) -> Any:
    """What a node wrote, of the declared types where they still fit."""
    if not isinstance(write, Mapping):
        return write
    typed = {}
    for name, value in write.items():
        try:
            decode = channels[name].decode_write
            several = isinstance(value, Mapping) and value.keys() == {SEVERAL}
            typed[name] = {SEVERAL: [decode(each) for each in value[SEVERAL]]} if several else decode(value)
        except (InvalidUpdateError, ValidationError):
            typed[name] = value
    return typed
