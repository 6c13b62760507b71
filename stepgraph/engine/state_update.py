"""Checkpoints that are made by hand: updates, and forks from anywhere in a thread's history. Pure."""

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

ByHand = Literal["update", "fork"]


@dataclass(frozen=True)
class Update:
    """Values written in somebody's name: a node's, a virtual author's, `START`'s or `END`'s."""

    author: str
    values: Mapping[str, Any]
    """JSON data that fits the state."""
    goto: tuple[str, ...] = ()
    """Where the author's routers lead."""
    input: Mapping[str, Any] = field(default_factory=dict)
    """JSON data that the author was to write anyway, and writes first: what is kept of an input."""

    @property
    def writes(self) -> tuple[dict[str, Any], ...]:
        """All that is written, in order."""
        return tuple(dict(each) for each in (self.input, self.values) if each)


def author_of(spec: GraphSpec, checkpoint: Checkpoint | None, as_node: str | None) -> str:
    """In whose name an update is made at a checkpoint: the one given, otherwise its last writer.

    Raises:
        InvalidUpdateError: there is no such node or author, or several wrote last.
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
    """Whether the author signs updates without being a node: values change, what runs next does not."""
    return author in spec.authors


def result_of(update: Update) -> TaskResult:
    """The update as what the author's own task leaves."""
    return TaskResult(writes=update.writes, goto=update.goto)


def tasks_of(target: Checkpoint | None, updates: Sequence[Update], left: TaskOutcomes) -> list[Task]:
    """The tasks whose results the updates are: those of their authors, if all of them are still to run there."""
    pending = {task.node: task for task in plan(target) if task.id not in left.results} if target is not None else {}
    tasks = [pending.pop(each.author) for each in updates if each.author in pending]
    return tasks if len(tasks) == len(updates) else []


def with_results(left: TaskOutcomes, tasks: Sequence[Task], updates: Sequence[Update]) -> TaskOutcomes:
    """What becomes of a checkpoint's tasks when updates are the results of some."""
    outcomes = left.copy()
    for task, update in zip(tasks, updates, strict=True):
        outcomes.start(task)
        outcomes.finish(task, result_of(update))
    return outcomes


def finish_tasks(
    spec: GraphSpec,
    channels: Channels,
    target: Checkpoint,
    tasks: Sequence[Task],
    updates: Sequence[Update],
    left: TaskOutcomes,
    *,
    forked_from: str | None = None,
    **named: Any,
) -> tuple[Checkpoint, TaskOutcomes]:
    """A branch on which updates are the results of tasks, beside those that others had; and what is still pending.

    Raises like `branch`.
    """
    outcomes = with_results(left, tasks, updates)
    if complete(target, outcomes.results):
        after = commit(spec, channels, target, outcomes.results, **named)
        return replace(after, forked_from=forked_from), TaskOutcomes()
    return replace(target, **named, parent_id=target.id, step=target.step + 1, forked_from=forked_from), outcomes


def kept_input(channels: Channels, checkpoint: Checkpoint | None, values: Mapping[str, Any]) -> dict[str, Any]:
    """What values written on top of a checkpoint's input leave of it; nothing where the input has been taken.

    A channel with a reducer gets both, one without the later value.
    """
    if checkpoint is None or checkpoint.triggers != (START,):
        return {}
    given = checkpoint.input or {}
    return {name: value for name, value in given.items() if name not in values or channels[name].reducer is not None}


def branch(
    spec: GraphSpec,
    channels: Channels,
    target: Checkpoint | None,
    updates: Sequence[Update],
    *,
    source: ByHand,
    forked_from: str | None = None,
    id: str,
    created_at: str,
) -> Checkpoint:
    """The checkpoint that grows from ``target`` (`None`: from nothing) by updates made together; by none, a replay.

    Raises:
        InvalidUpdateError: several values for a channel without a reducer.
        ReducerError: a reducer raised.
    """
    if target is None:
        target = Checkpoint(id="", parent_id=None, step=-1, source="input", created_at=created_at, values={})
    step = target.step + 1
    grown: dict[str, Any] = {
        "id": id,
        "parent_id": target.id or None,
        "step": step,
        "source": source,
        "created_at": created_at,
        "forked_from": forked_from,
    }
    if not updates:
        return Checkpoint(
            **grown,
            values=target.values,
            triggers=target.triggers,
            joins=target.joins,
            writes=target.writes,
            input=target.input,
        )
    writes = [
        Write(each.author, name, value) for each in updates for write in each.writes for name, value in write.items()
    ]
    grown["values"] = channels.fold({**channels.zeros(), **target.values}, writes, step=step)
    grown["writes"] = {each.author: result_of(each).merged for each in updates}
    nodes = [(each.author, each.goto) for each in updates if not is_virtual_author(spec, each.author)]
    if not nodes:
        return Checkpoint(**grown, triggers=target.triggers, joins=target.joins, input=target.input)
    if any(author == END for author, _ in nodes):
        return Checkpoint(**grown)
    return Checkpoint(**grown, **advance(spec, target.joins, nodes))
