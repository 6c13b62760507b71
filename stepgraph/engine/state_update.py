"""Checkpoints that a client makes, by an update or a fork, from any checkpoint in a thread's history. Pure functions.

An update writes values in the name of an author. If the author is a node that is still due at the checkpoint, the
update replaces the run of its task. Otherwise a new checkpoint branches off, and the nodes that the author leads to are
due there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from stepgraph.engine.channels import Channels, Write
from stepgraph.engine.checkpoint import Checkpoint, Task, TaskResult
from stepgraph.engine.commit import advance, commit
from stepgraph.engine.constants import END, START
from stepgraph.engine.plan import plan
from stepgraph.engine.spec import GraphSpec
from stepgraph.engine.task_outcomes import TaskOutcomes, complete
from stepgraph.errors import InvalidUpdateError, suggest

UpdateSource = Literal["update", "fork"]
"""The sources of checkpoints that a client makes."""


@dataclass(frozen=True)
class Update:
    """Values written in the name of an author: a node, a virtual author, `START` or `END`."""

    author: str
    values: Mapping[str, Any]
    """JSON data that fits the state."""
    goto: tuple[str, ...] = ()
    """The nodes that the author's routers chose."""
    input: Mapping[str, Any] = field(default_factory=dict)
    """The part of the checkpoint's input that is written before the values (`remaining_input`), as JSON data."""

    @property
    def writes(self) -> tuple[dict[str, Any], ...]:
        """Everything the update writes, in order."""
        return tuple(dict(each) for each in (self.input, self.values) if each)

    def to_result(self) -> TaskResult:
        """Return the update as the result of its author's task."""
        return TaskResult(writes=self.writes, goto=self.goto)


def author_of(spec: GraphSpec, checkpoint: Checkpoint | None, as_node: str | None) -> str:
    """Return the author of an update: ``as_node`` if it is given, otherwise the node that wrote the checkpoint.

    Raises:
        InvalidUpdateError: there is no node or virtual author ``as_node``; or several nodes wrote the checkpoint.
    """
    if as_node is not None:
        known = (*spec.node_names, *spec.authors, START, END)
        if as_node not in known:
            raise InvalidUpdateError(
                f"Graph {spec.name!r} has no node {as_node!r} to make an update as."
                f"{suggest(as_node, (*spec.node_names, *spec.authors))}",
                nodes=[as_node],
            )
        return as_node
    writers = list((checkpoint.writes if checkpoint else None) or {START: None})
    if len(writers) > 1:
        raise InvalidUpdateError(
            f"The update is ambiguous: {', '.join(map(repr, writers))} wrote last. "
            "Say in whose name it is made: as_node='...'.",
            nodes=writers,
        )
    return writers[0]


def is_virtual_author(spec: GraphSpec, author: str) -> bool:
    """Return whether an author is not a node. Its updates change values, but not the nodes that are due."""
    return author in spec.authors


def remaining_input(channels: Channels, checkpoint: Checkpoint | None, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a checkpoint's input that is still written when an update adds values to it, as JSON data.

    A channel with a reducer gets the input and the value. A channel without one gets only the later, the value. The
    result is empty if the checkpoint has no input that is still to be written.
    """
    if checkpoint is None or checkpoint.triggers != (START,):
        return {}
    input_data = checkpoint.input or {}
    return {
        name: value for name, value in input_data.items() if name not in values or channels[name].reducer is not None
    }


def tasks_replaced(target: Checkpoint | None, updates: Sequence[Update], outcomes: TaskOutcomes) -> list[Task]:
    """Return the tasks whose runs the updates replace, one for each update.

    Args:
        target: the checkpoint that the updates are made at.
        updates: the updates of one super-step.
        outcomes: the outcomes of the target's tasks.

    Returns:
        The tasks of the updates' authors if every author has an unfinished task at the target; otherwise an empty list.
    """
    unfinished = (
        {task.node: task for task in plan(target) if task.id not in outcomes.results} if target is not None else {}
    )
    tasks = [unfinished.pop(update.author) for update in updates if update.author in unfinished]
    return tasks if len(tasks) == len(updates) else []


def with_update_results(outcomes: TaskOutcomes, tasks: Sequence[Task], updates: Sequence[Update]) -> TaskOutcomes:
    """Return a copy of a checkpoint's outcomes in which each of ``tasks`` has its update as its result."""
    outcomes = outcomes.copy()
    for task, update in zip(tasks, updates, strict=True):
        outcomes.start(task)
        outcomes.finish(task, update.to_result())
    return outcomes


def branch_with_results(
    spec: GraphSpec,
    channels: Channels,
    target: Checkpoint,
    tasks: Sequence[Task],
    updates: Sequence[Update],
    outcomes: TaskOutcomes,
    *,
    source: UpdateSource,
    forked_from: str | None = None,
    id: str,
    created_at: str,
) -> tuple[Checkpoint, TaskOutcomes]:
    """Return a branch of ``target`` on which updates replace the runs of some tasks, and the branch's task outcomes.

    The results that other tasks of ``target`` had are kept. If all tasks have results then, the branch is the
    checkpoint after their commit, and has no outcomes yet. Otherwise it has the same tasks due as ``target``.

    Args:
        spec: the graph's spec.
        channels: the graph's channels.
        target: the checkpoint to branch from.
        tasks: the tasks that the updates replace, from `tasks_replaced`.
        updates: the updates, in the order of ``tasks``.
        outcomes: the outcomes of the target's tasks so far.
        source, forked_from, id, created_at: fields of the new checkpoint.

    Raises:
        InvalidUpdateError: several tasks wrote to a channel without a reducer.
        ReducerError: a reducer raised, or returned a value that its channel cannot hold.
    """
    outcomes = with_update_results(outcomes, tasks, updates)
    if complete(target, outcomes.results):
        committed = commit(spec, channels, target, outcomes.results, id=id, created_at=created_at, source=source)
        return replace(committed, forked_from=forked_from), TaskOutcomes()
    branched = replace(
        target,
        id=id,
        created_at=created_at,
        source=source,
        parent_id=target.id,
        step=target.step + 1,
        forked_from=forked_from,
    )
    return branched, outcomes


def branch(
    spec: GraphSpec,
    channels: Channels,
    target: Checkpoint | None,
    updates: Sequence[Update],
    *,
    source: UpdateSource,
    forked_from: str | None = None,
    id: str,
    created_at: str,
) -> Checkpoint:
    """Return a branch of ``target`` with the values of some updates.

    Args:
        spec: the graph's spec.
        channels: the graph's channels.
        target: the checkpoint to branch from; `None` on a thread without checkpoints.
        updates: the updates of one super-step. Without any, the branch has the target's values and tasks (a replay).
        source, forked_from, id, created_at: fields of the new checkpoint.

    Raises:
        InvalidUpdateError: several updates write to a channel without a reducer.
        ReducerError: a reducer raised, or returned a value that its channel cannot hold.
    """
    if target is None:
        target = Checkpoint(id="", parent_id=None, step=-1, source="input", created_at=created_at, values={})
    step = target.step + 1
    fields: dict[str, Any] = {
        "id": id,
        "parent_id": target.id or None,
        "step": step,
        "source": source,
        "created_at": created_at,
        "forked_from": forked_from,
    }
    if not updates:
        return Checkpoint(
            **fields,
            values=target.values,
            triggers=target.triggers,
            joins=target.joins,
            writes=target.writes,
            input=target.input,
        )
    writes = [
        Write(update.author, name, value)
        for update in updates
        for values in update.writes
        for name, value in values.items()
    ]
    fields["values"] = channels.fold({**channels.zeros(), **target.values}, writes, step=step)
    fields["writes"] = {update.author: update.to_result().merged for update in updates}
    nodes = [(update.author, update.goto) for update in updates if not is_virtual_author(spec, update.author)]
    if not nodes:
        return Checkpoint(**fields, triggers=target.triggers, joins=target.joins, input=target.input)
    if any(author == END for author, _ in nodes):
        return Checkpoint(**fields)
    return Checkpoint(**fields, **advance(spec, target.joins, nodes))
