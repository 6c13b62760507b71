"""Observes a thread in the same terms for both libraries, so that the observations can be compared.

docs/semantics.md asks for these differences in presentation. They are translated here, in one place:

- "Checkpoints": steps count from 0; LangGraph begins at -1.
- "Checkpoints": the first checkpoint's values are ``{}``; LangGraph shows the zeros of channels with a reducer.
- "Checkpoints": ``writes`` says who wrote what. LangGraph 1.2 has no such key; the results of the parent's tasks are
  compared instead.
- "`tasks`: a finished task shows its result, a failed one its error": LangGraph leaves the error on a task that failed
  once and finished when it was resumed, and at the head an interrupt on a task that failed after its answer.
- "Tasks: the triggered nodes, by name": LangGraph lists them as they were declared, and applies their writes by name.
- "an error that is both a `NodeError` ... and ... the node's own exception type": the node's own type is
  compared.
- Neither library promises particular ids: threads and checkpoints are compared by their position.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stepgraph.errors import NodeError
from tests.parity.libraries import LANGGRAPH, ParityThread
from tests.parity.operations import Operation


@dataclass(frozen=True)
class ObservedInterrupt:
    """An interrupt without its id."""

    value: Any


@dataclass(frozen=True)
class Raised:
    """The exception that an operation raised."""

    type: str


@dataclass(frozen=True)
class Observations:
    """Everything that can be observed of a thread during and after some operations."""

    returned: list[Any]
    """For each operation, what it returned or raised."""
    heads: list[dict[str, Any]]
    """For each operation, the thread's head after it."""
    history: list[dict[str, Any]]
    """The thread's checkpoints at the end, newest first."""


async def observe(thread: ParityThread, operations: Sequence[Operation]) -> Observations:
    """Perform the operations one after the other, and return what could be observed."""
    returned: list[Any] = []
    heads: list[dict[str, Any]] = []
    for operation in operations:
        try:
            returned.append(_without_interrupt_ids(await operation(thread)))
        except Exception as error:
            returned.append(raised(error))
        head = await thread.graph.aget_state(thread.config)
        heads.append({"next": tuple(sorted(head.next)), "values": head.values, "tasks": _tasks(head, at_head=True)})
    return Observations(returned, heads, await observe_history(thread))


async def observe_history(thread: ParityThread) -> list[dict[str, Any]]:
    """Return the thread's checkpoints, newest first."""
    snapshots = await thread.history()
    positions = {_id(snapshot.config): number for number, snapshot in enumerate(reversed(snapshots))}
    by_id = {_id(snapshot.config): snapshot for snapshot in snapshots}
    nothing_applied: set[str | None] = {None}  # checkpoints before any input was applied
    history: list[dict[str, Any]] = []
    for snapshot in reversed(snapshots):
        parent = _id(snapshot.parent_config) if snapshot.parent_config else None
        if parent in nothing_applied and snapshot.next == (thread.library.START,):
            nothing_applied.add(_id(snapshot.config))
        history.append(
            {
                "step": snapshot.metadata["step"] + (1 if thread.library is LANGGRAPH else 0),
                "source": snapshot.metadata["source"],
                "values": {} if _id(snapshot.config) in nothing_applied else snapshot.values,
                "next": tuple(sorted(snapshot.next)),
                "parent": None if parent is None else positions[parent],
                "tasks": _tasks(snapshot),
                "writes": _writes(thread, snapshot, by_id[parent] if parent else None),
            }
        )
    return history[::-1]


def raised(error: Exception) -> Raised:
    """Return the error by the name of its type; for a `NodeError`, by the type of the node's own exception."""
    if isinstance(error, NodeError):
        return Raised(str(error.parts["error_type"]).rpartition(":")[2])
    return Raised(type(error).__name__)


def _without_interrupt_ids(returned: Any) -> Any:
    if isinstance(returned, dict) and "__interrupt__" in returned:
        return {**returned, "__interrupt__": _interrupts(returned["__interrupt__"])}
    return returned


def _interrupts(interrupts: Any) -> list[ObservedInterrupt]:
    return [ObservedInterrupt(interrupt.value) for interrupt in interrupts]


def _tasks(snapshot: Any, *, at_head: bool = False) -> list[dict[str, Any]]:
    tasks = []
    for task in sorted(snapshot.tasks, key=lambda task: task.name):
        error = None if task.result is not None or task.error is None else re.split(r"\W", task.error)[0]
        interrupts = [] if at_head and error is not None else _interrupts(task.interrupts)
        tasks.append({"name": task.name, "result": task.result, "error": error, "interrupts": interrupts})
    return tasks


def _writes(thread: ParityThread, snapshot: Any, parent: Any) -> Any:
    """Return what each node wrote in the super-step before a checkpoint, `None` for a checkpoint of another source.

    Each node has a list of what its tasks wrote, those that were sent last. A task that wrote nothing has an empty
    mapping.
    """
    if snapshot.metadata["source"] != "loop":
        return None
    written: dict[str, list[Any]] = {}
    if thread.library is LANGGRAPH:
        for task in sorted(parent.tasks, key=lambda task: task.path[0]):
            written.setdefault(task.name, []).append(task.result)
        return written
    tasks = [task.name for task in parent.tasks]
    for name, write in snapshot.metadata["writes"].items():
        written[name] = [{} if each is None else each for each in (write if tasks.count(name) > 1 else [write])]
    return written


def _id(config: Any) -> str:
    checkpoint_id: str = config["configurable"]["checkpoint_id"]
    return checkpoint_id
