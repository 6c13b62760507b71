"""What is due: the tasks that follow from finished ones, and those of a checkpoint that still have to run.

Pure functions.

A join collects the sources that have finished. Once it has all of them its target is due, and stays due until the
target has run: an update by hand, in whoever's name, does not lose a join that is complete. Then the join begins again.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import NamedTuple

from stepgraph.engine.checkpoint import Checkpoint, CheckpointData, Send, Task, new_tasks
from stepgraph.engine.constants import END, START
from stepgraph.engine.folding import Entry
from stepgraph.engine.spec import GraphSpec, JoinSpec, join_of_key


class Plan(NamedTuple):
    """What is due after some nodes have finished: fields of the next checkpoint."""

    tasks: tuple[Task, ...]
    joins: Mapping[str, tuple[str, ...]]


def plan(
    spec: GraphSpec, joins: Mapping[str, tuple[str, ...]], finished: Sequence[Entry], *, checkpoint_id: str
) -> Plan:
    """Return what is due after some nodes have finished.

    Args:
        spec: the graph's spec.
        joins: for each join, its sources that had finished before (`joins_after`).
        finished: the nodes that have finished, with what their routers chose and what they sent.
        checkpoint_id: the checkpoint at which the tasks are planned.
    """
    nodes = {entry.node for entry in finished}
    triggers: list[str] = []
    sends: list[Send] = []
    for entry in finished:
        triggers += [*spec.targets(entry.node), *entry.result.goto]
        sends += entry.result.sends
    progress: dict[str, tuple[str, ...]] = {}
    for join in spec.joins:
        key = join.key
        before = frozenset(joins[key] if key in joins else _progress_under_former_code(spec, joins, join))
        arrived = tuple(source for source in join.sources if source in nodes or source in before)
        complete = len(arrived) == len(join.sources)
        if complete:
            triggers.append(join.target)
        if arrived and not (complete and join.target == END):  # END never runs, so such a join begins again at once
            progress[key] = arrived
    return Plan(new_tasks(checkpoint_id, [name for name in triggers if name != END], sends), progress)


def joins_after(joins: Mapping[str, tuple[str, ...]], ran: Container[str]) -> dict[str, tuple[str, ...]]:
    """Return the joins after some nodes have run. A complete join that leads to one of them begins again."""
    return {key: arrived for key, arrived in joins.items() if not (_is_complete(key, arrived) and _target(key) in ran)}


def incomplete_joins(joins: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Return the joins that still wait for a source, for a checkpoint that drops the tasks that were due."""
    return {key: arrived for key, arrived in joins.items() if not _is_complete(key, arrived)}


def _is_complete(key: str, arrived: Sequence[str]) -> bool:
    return len(arrived) == len(join_of_key(key).sources)


def _target(key: str) -> str:
    return join_of_key(key).target


def _progress_under_former_code(
    spec: GraphSpec, joins: Mapping[str, tuple[str, ...]], join: JoinSpec
) -> tuple[str, ...]:
    """Return the sources that had arrived at a join before a deployment changed it: its target, or its sources."""
    known = {each.key for each in spec.joins}
    former = [join_of_key(key) for key in joins if key not in known]
    return tuple(
        source
        for each in former
        if set(each.sources) == set(join.sources) or each.target == join.target
        for source in joins[each.key]
    )


def nodes_to_run(checkpoint: Checkpoint | CheckpointData, finished: Container[str]) -> tuple[str, ...]:
    """Return the nodes that a checkpoint still has to run, those of sent tasks first, as a snapshot shows them.

    Args:
        checkpoint: whose tasks are due.
        finished: ids of the tasks that have finished. If it holds all of them, only their commit is missing, because it
            failed: all nodes are returned, so that a thread which is not done never looks done.
    """
    shown = as_shown(checkpoint.tasks)
    unfinished = tuple(task.node for task in shown if task.id not in finished)
    return unfinished or tuple(task.node for task in shown)


def as_shown(tasks: Sequence[Task]) -> tuple[Task, ...]:
    """Return tasks in the order in which snapshots list them, as LangGraph does: those that were sent come first."""
    return tuple(sorted(tasks, key=lambda task: not task.sent))


def needs_no_code(spec: GraphSpec, task: Task) -> bool:
    """Return whether a task runs no user code: it is the start node's, and no router decides where the graph begins."""
    return task.node == START and not spec.enters_by_router
