"""What LangGraph would have streamed of a run, derived from the checkpoints that it left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from adapter.not_applicable import not_applicable
from langgraph.types import StateSnapshot

from stepgraph.engine.thread import Thread

DERIVED = ("values", "updates")

_order: dict[str, int] = {}
"""The ids of tasks, in the order in which they finished. Snapshots have them in the order of their writes."""

_finish = Thread.finish


def _finish_in_order(thread: Thread, task: Any, result: Any) -> None:
    _order.setdefault(task.id, len(_order))
    _finish(thread, task, result)


Thread.finish = _finish_in_order  # type: ignore[method-assign]


def modes_of(stream_mode: Any, options: dict[str, Any]) -> Sequence[str]:
    """Return the stream modes that a test asks for. Those that checkpoints do not tell end the test."""
    modes = [stream_mode] if isinstance(stream_mode, str) else list(stream_mode)
    if not set(modes) <= set(DERIVED) or options.pop("subgraphs", False) or options.pop("version", "v1") != "v1":
        not_applicable("streams, but for values and updates")
    return modes


def chunks(
    modes: Sequence[str], before: Sequence[StateSnapshot], after: Sequence[StateSnapshot], head: StateSnapshot
) -> Iterator[tuple[str, Any]]:
    """Yield what each super-step of a run gives to the streams, as (mode, chunk).

    Args:
        modes: the stream modes.
        before: the thread's checkpoints before the run, oldest first.
        after: those after it.
        head: the thread's head after it.
    """
    known = {_id(snapshot) for snapshot in before}
    by_id = {_id(snapshot): snapshot for snapshot in after}
    new = [snapshot for snapshot in after if _id(snapshot) not in known]
    if (not new or new[0].metadata["source"] == "loop") and before and "values" in modes:
        yield "values", before[-1].values
    for snapshot in new:
        if snapshot.metadata["source"] == "input":
            continue
        parent = by_id[snapshot.parent_config["configurable"]["checkpoint_id"]]
        tasks = parent.tasks if snapshot.metadata["source"] == "loop" else ()
        yield from _updates(modes, [task for task in tasks if task.name != "__start__"])
        if "values" in modes and (not tasks or any(task.result for task in tasks)):
            yield "values", snapshot.values
    finished = [task for task in head.tasks if task.result is not None]
    yield from _updates(modes, [task for task in finished if task.id not in _finished(before)])
    interrupted = {"__interrupt__": head.interrupts}
    if head.next and "updates" in modes:
        yield "updates", interrupted
    if head.interrupts and "values" in modes:
        yield "values", {**after[-1].values, **interrupted}


def _updates(modes: Sequence[str], tasks: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    if "updates" in modes:
        for task in sorted(tasks, key=lambda task: _order.get(task.id, 0)):
            yield "updates", {task.name: task.result or None}


def _finished(before: Sequence[StateSnapshot]) -> set[str]:
    return {task.id for task in before[-1].tasks if task.result is not None} if before else set()


def _id(snapshot: StateSnapshot) -> str:
    checkpoint_id: str = snapshot.config["configurable"]["checkpoint_id"]
    return checkpoint_id
