"""What is due: the tasks that follow from finished ones, and those of a checkpoint that still have to run.

Pure functions.

A join collects the sources that have finished. Once it has all of them its target is due, and stays due until the
target has run: an update by hand, in whoever's name, does not lose a join that is complete. Then the join begins again.

A node with ``defer`` waits when edges, routers, commands or joins lead to it (`Checkpoint.deferred`). All that wait are
due after the first super-step whose edges, routers, commands and joins lead to no other node. A new input leaves them
waiting; an update as `END` drops them.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import NamedTuple

from stepgraph.engine.checkpoint import Checkpoint, CheckpointData, Task, as_shown, new_tasks
from stepgraph.engine.constants import END, START
from stepgraph.engine.folding import Entry
from stepgraph.engine.joins import JoinSpec, edge_key, is_join_key, join_of_key, node_of_edge_key
from stepgraph.engine.spec import GraphSpec


class Plan(NamedTuple):
    """What is due after some nodes have finished: fields of the next checkpoint."""

    tasks: tuple[Task, ...]
    joins: Mapping[str, tuple[str, ...]]
    deferred: tuple[str, ...]


def plan(
    spec: GraphSpec,
    joins: Mapping[str, tuple[str, ...]],
    finished: Sequence[Entry],
    *,
    checkpoint_id: str,
    waiting: Sequence[str] = (),
    due: Sequence[str] = (),
) -> Plan:
    """Return what is due after some nodes have finished.

    Args:
        spec: the graph's spec.
        joins: for each join, its sources that had finished before (`joins_after`).
        finished: the nodes that have finished, with what their routers chose and what they sent.
        checkpoint_id: the checkpoint at which the tasks are planned.
        waiting: what leads to deferred nodes since before (`Checkpoint.deferred`).
        due: deferred nodes that were due before, and have not run.
    """
    nodes = {entry.node for entry in finished}
    led_to = [target for entry in finished for target in (*spec.targets(entry.node), *entry.result.goto)]
    triggers = [name for name in led_to if name != END and not spec.defers(name)]
    newly = [edge_key(name) for name in led_to if spec.defers(name)]
    kept = [name for name in due if edge_key(name) not in newly]
    progress: dict[str, tuple[str, ...]] = {}
    for join in spec.joins:
        key = join.key
        before = frozenset(joins[key] if key in joins else _progress_under_former_code(spec, joins, join))
        arrived = tuple(source for source in join.sources if source in nodes or source in before)
        complete = len(arrived) == len(join.sources)
        if arrived and not (complete and join.target == END):  # END never runs, so such a join begins again at once
            progress[key] = arrived
        if not complete or join.target == END:
            continue
        if before.issuperset(join.sources):  # it has been complete since before
            if key not in waiting:
                kept.append(join.target)
        elif spec.defers(join.target):
            newly.append(key)
        else:
            triggers.append(join.target)
    deferred = tuple(dict.fromkeys((*waiting, *newly)))
    if not triggers:  # sent tasks, and what has been due since before, keep no deferred node waiting
        triggers, deferred = [_target_of(key) for key in deferred], ()
    sends = [send for entry in finished for send in entry.result.sends]
    return Plan(new_tasks(checkpoint_id, [*kept, *triggers], sends), progress, deferred)


def with_tasks_led_to(
    spec: GraphSpec, tasks: Sequence[Task], deferred: Sequence[str], leading: Sequence[Entry], *, checkpoint_id: str
) -> tuple[tuple[Task, ...], tuple[str, ...]]:
    """Return tasks that are due with those that a caller's command leads to in addition, and what is deferred then.

    A node that is due by its edges runs once all the same.
    """
    due = {task.node for task in tasks if not task.sent}
    led_to = [name for entry in leading for name in entry.result.goto if name != END]
    sends = [send for entry in leading for send in entry.result.sends]
    added = new_tasks(checkpoint_id, [name for name in led_to if name not in due and not spec.defers(name)], sends)
    triggered = sorted((task for task in (*tasks, *added) if not task.sent), key=lambda task: task.node)
    sent = (task for task in (*tasks, *added) if task.sent)
    waiting = (edge_key(name) for name in led_to if name not in due and spec.defers(name))
    return (*triggered, *sent), tuple(dict.fromkeys((*deferred, *waiting)))


def joins_after(
    joins: Mapping[str, tuple[str, ...]], ran: Container[str], deferred: Container[str] = ()
) -> dict[str, tuple[str, ...]]:
    """Return the joins after some nodes have run. A complete join that leads to one of them begins again.

    One that is among ``deferred`` has not led to it yet.
    """
    return {
        key: arrived
        for key, arrived in joins.items()
        if not (_is_complete(key, arrived) and key not in deferred and _target(key) in ran)
    }


def incomplete_joins(joins: Mapping[str, tuple[str, ...]], deferred: Container[str] = ()) -> dict[str, tuple[str, ...]]:
    """Return the joins that still wait for a source, for a checkpoint that drops the tasks that were due.

    Those among ``deferred`` stay, too: no task was due by them.
    """
    return {key: arrived for key, arrived in joins.items() if key in deferred or not _is_complete(key, arrived)}


def _target_of(key: str) -> str:
    """Return the node that a key in `Checkpoint.deferred` leads to."""
    return _target(key) if is_join_key(key) else node_of_edge_key(key)


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


def needs_no_code(spec: GraphSpec, task: Task) -> bool:
    """Return whether a task runs no user code: it is the start node's, and no router decides where the graph begins."""
    return task.node == START and not spec.enters_by_router
