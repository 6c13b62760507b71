"""Checkpoints that a client makes, by an update or a fork, from any checkpoint in a thread's history. Pure functions.

An update writes values in the name of an author. If the author is a node that is still due at the checkpoint, the
update replaces the run of its task. Otherwise a new checkpoint branches off, and the nodes that the author leads to are
due there, together with the targets of joins that were complete.

A branch off a thread's head carries the tasks of the head over, with their ids: they are the same tasks. A branch off
an earlier checkpoint plans them anew, because they may have run since: another run of them has another id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from stepgraph.engine.checkpoint import Checkpoint, Task, TaskResult, planned_anew
from stepgraph.engine.commit import commit, unfolded_at, values_before, with_applied, writes_by_node
from stepgraph.engine.constants import COPY, END, INPUT, START
from stepgraph.engine.folding import Applied, Entry, Unfolded, fold, next_stamps, next_versions, unfolded
from stepgraph.engine.plan import incomplete_joins, joins_after, plan, with_tasks_led_to
from stepgraph.engine.spec import GraphSpec
from stepgraph.engine.task_outcomes import TaskOutcomes, complete
from stepgraph.errors import InvalidUpdateError, suggest

UpdateSource = Literal["update", "fork"]
"""The sources of checkpoints that a client makes."""

NO_CHECKPOINT = Checkpoint(id="", parent_id=None, step=-1, source="input", created_at="", values={})
"""Stands for the checkpoint that an update is made at on a thread without checkpoints."""


@dataclass(frozen=True)
class Update:
    """Values written in the name of an author: a node, a virtual author, `START` or `END`."""

    author: str
    result: TaskResult
    """What the update writes, and where its author's routers lead."""
    task_id: str | None = None
    """The task whose run the update replaces, if its node is due several times."""


@dataclass(frozen=True)
class PlannedUpdate:
    """The updates of one super-step, with what they do to a checkpoint's tasks."""

    target: Checkpoint
    """The checkpoint that they are made at; on a thread without checkpoints, an empty one without an id."""
    updates: tuple[Update, ...]
    tasks: tuple[Task, ...]
    """The tasks of the target whose runs the updates replace; empty if they do not."""
    outcomes: TaskOutcomes
    """The outcomes of the target's tasks; with the updates as the results of ``tasks``."""
    at_head: bool
    """Whether the target is the thread's head."""
    copies: bool = False
    """Whether the new checkpoint is a copy of the target: it has the target's parent."""

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What the updates write, in order."""
        return tuple(Entry(str(number), each.author, each.result) for number, each in enumerate(self.updates))

    @property
    def completes(self) -> bool:
        """Whether all tasks of the target have results with the updates, so that the super-step is committed."""
        return bool(self.tasks) and complete(self.target, self.outcomes.results)


@dataclass(frozen=True)
class BranchFields:
    """What a new checkpoint has of its own."""

    id: str
    created_at: str
    """ISO 8601, UTC."""
    source: UpdateSource
    forked_from: str | None = field(default=None)
    """The thread id of the target if it is on another thread."""


def author_of(spec: GraphSpec, checkpoint: Checkpoint | None, as_node: str | None) -> str:
    """Return the author of an update: ``as_node`` if it is given, otherwise the node that wrote the checkpoint.

    Raises:
        InvalidUpdateError: there is no node or virtual author ``as_node``; or several nodes wrote the checkpoint, or
            one that the graph does not have any more.
    """
    if as_node is not None:
        known = (*spec.node_names, *spec.authors, START, END, INPUT, COPY)
        if as_node not in known:
            raise InvalidUpdateError(
                f"Graph {spec.name!r} has no node {as_node!r} to make an update as."
                f"{suggest(as_node, (*spec.node_names, *spec.authors))}",
                nodes=[as_node],
            )
        return as_node
    writers = list((checkpoint.writes if checkpoint else None) or {START: None})
    unknown = [writer for writer in writers if writer not in (*spec.node_names, *spec.authors, START, END, INPUT)]
    if unknown:
        raise InvalidUpdateError(
            f"{unknown[0]!r} wrote last, which graph {spec.name!r} does not have any more. "
            "Say in whose name the update is made: as_node='...'.",
            nodes=unknown,
        )
    if len(writers) > 1:
        raise InvalidUpdateError(
            f"The update is ambiguous: {', '.join(map(repr, writers))} wrote last. "
            "Say in whose name it is made: as_node='...'.",
            nodes=writers,
        )
    return writers[0]


def is_virtual_author(spec: GraphSpec, author: str) -> bool:
    """Return whether an author is not a node. Its updates change values, and drop none of the tasks that are due."""
    return author == INPUT or author in spec.authors


def remaining_input(spec: GraphSpec, checkpoint: Checkpoint | None, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a checkpoint's input that is still written when an update adds values to it, as JSON data.

    A channel with a reducer gets the input and the value. A channel without one gets only the later, the value. The
    result is empty if the checkpoint has no input that is still to be written.
    """
    if checkpoint is None or not checkpoint.takes_input:
        return {}
    return {name: value for name, value in (checkpoint.input or {}).items() if name not in values or name in spec.folds}


def plan_update(
    target: Checkpoint | None, updates: Sequence[Update], outcomes: TaskOutcomes, *, at_head: bool
) -> PlannedUpdate:
    """Return what updates do to a checkpoint's tasks.

    If every author has an unfinished task at the target, the updates replace the runs of these tasks.

    Args:
        target: the checkpoint that the updates are made at; `None` on a thread without checkpoints.
        updates: the updates of one super-step. Without any, all tasks of the target run again (a replay).
        outcomes: the outcomes of the target's tasks.
        at_head: whether the target is the thread's head.

    Raises:
        InvalidUpdateError: a node is due several times and its update does not say which task is meant, or names a task
            that is not due.
    """
    target = target or NO_CHECKPOINT
    versions = target.versions
    updates = tuple(replace(update, result=update.result.starting_from(versions)) for update in updates)
    if not at_head and not outcomes.results:  # a branch off a checkpoint whose tasks have no results replaces none
        return PlannedUpdate(target, updates, (), outcomes, at_head)
    unfinished = [task for task in target.tasks if task.id not in outcomes.results]
    tasks = [task for update in updates if (task := _task_of(update, unfinished)) is not None]
    if not tasks or len(tasks) != len(updates):
        return PlannedUpdate(target, updates, (), outcomes, at_head)
    outcomes = outcomes.copy()
    for task, update in zip(tasks, updates, strict=True):
        outcomes.start(task)
        outcomes.finish(task, update.result)
    return PlannedUpdate(target, updates, tuple(tasks), outcomes, at_head)


def unfolded_by(spec: GraphSpec, planned: PlannedUpdate) -> Unfolded | None:
    """Return what only the graph's code can tell before an update is made; `None` if nothing is."""
    target = planned.target
    if planned.tasks:
        return unfolded_at(spec, target, planned.outcomes.results) if planned.completes else None
    return unfolded(spec, values_before(spec, target), target.versions, planned.entries, step=target.step + 1)


def branch(
    spec: GraphSpec, planned: PlannedUpdate, applied: Applied, fields: BranchFields
) -> tuple[Checkpoint, TaskOutcomes]:
    """Return the checkpoint that updates make, and the outcomes that its tasks have already.

    Args:
        spec: the graph's spec.
        planned: the updates.
        applied: what the graph's code told of them, if `unfolded_by` asked.
        fields: what the new checkpoint has of its own.

    Raises:
        InvalidUpdateError: several updates write to a channel without a reducer, or one to an unknown channel.
        ReducerError: a built-in fold failed.
    """
    target, outcomes = planned.target, planned.outcomes
    if planned.completes:
        committed = commit(
            spec, target, outcomes.results, applied, id=fields.id, created_at=fields.created_at, source=fields.source
        )
        return replace(committed, forked_from=fields.forked_from), TaskOutcomes()
    own: dict[str, Any] = {
        **vars(fields),
        "parent_id": target.id or None,
        "step": target.step + 1,
    }
    if planned.tasks:
        tasks, outcomes = _carried_over(planned, fields.id)
        return replace(target, **own, tasks=tasks), outcomes
    if planned.copies:
        own["parent_id"] = target.parent_id
    if not planned.updates:
        return replace(target, **own, tasks=planned_anew(fields.id, target.tasks)), TaskOutcomes()
    entries = with_applied(planned.entries, applied)
    before = values_before(spec, target)
    values = fold(spec, before, target.versions, entries, applied.changes, step=target.step + 1)
    own |= {
        "values": values,
        "writes": writes_by_node(entries),
        "versions": next_versions(spec, target.versions, before, entries, fields.id),
        "stamps": next_stamps(spec, target.stamps, before, values, entries, applied),
    }
    nodes = [entry for entry in entries if not is_virtual_author(spec, entry.node)]
    if not nodes:
        tasks, outcomes = _carried_over(planned, fields.id)
        tasks, deferred = with_tasks_led_to(spec, tasks, target.deferred, entries, checkpoint_id=fields.id)
        return replace(target, **own, tasks=tasks, deferred=deferred), outcomes
    if any(entry.node == END for entry in nodes):
        return Checkpoint(**own, joins=incomplete_joins(target.joins)), TaskOutcomes()
    authors = [entry.node for entry in nodes]
    kept = joins_after(target.joins, authors, target.deferred)
    due = [task.node for task in target.tasks if not task.sent and spec.defers(task.node) and task.node not in authors]
    tasks, joins, deferred = plan(spec, kept, nodes, checkpoint_id=fields.id, waiting=target.deferred, due=due)
    return Checkpoint(**own, tasks=tasks, joins=joins, deferred=deferred), TaskOutcomes()


def _task_of(update: Update, unfinished: list[Task]) -> Task | None:
    """Take the task that an update replaces out of the unfinished ones; `None` if its author has none there."""
    candidates = [task for task in unfinished if task.node == update.author]
    if update.task_id is not None:
        candidates = [task for task in candidates if task.id == update.task_id]
        if not candidates:
            raise InvalidUpdateError(
                f"Node {update.author!r} has no unfinished task {update.task_id!r} at this checkpoint. Take an id from "
                "the snapshot's tasks.",
                nodes=[update.author],
            )
    elif len(candidates) > 1:
        raise InvalidUpdateError(
            f"Node {update.author!r} is due {len(candidates)} times at this checkpoint. Say which task is meant: "
            f"task_id={' or '.join(repr(task.id) for task in candidates)}.",
            nodes=[update.author],
        )
    if not candidates:
        return None
    unfinished.remove(candidates[0])
    return candidates[0]


def _carried_over(planned: PlannedUpdate, checkpoint_id: str) -> tuple[tuple[Task, ...], TaskOutcomes]:
    """Return the target's tasks, with their outcomes, as tasks of a branch: with new ids, unless it is off the head."""
    tasks = planned.target.tasks
    if planned.at_head:
        return tasks, planned.outcomes.copy()
    anew = planned_anew(checkpoint_id, tasks)
    return anew, planned.outcomes.renamed({task.id: new.id for task, new in zip(tasks, anew, strict=True)})
