"""What a played thread tells, in words that both libraries share.

SEMANTICS asks for these differences in how the same thing is told, and they are translated here, once:

- "Checkpoints": steps count from 0, where LangGraph begins at -1.
- "Checkpoints": the first checkpoint's values are ``{}``, where LangGraph shows the zeros of channels with a reducer.
- "Checkpoints": ``writes`` says who wrote what. LangGraph 1.2 has none; it is what the parent's tasks have as results.
- "`tasks`: a finished task shows its result, a failed one its error": LangGraph leaves the error on a task that failed
  once and finished when it was resumed, and at the head a question on a task that failed after its answer.
- "Tasks: ... triggered nodes by name": LangGraph lists them as they were declared, and applies their writes by name.
- "`invoke` raises an error that is both a `NodeError` and the node's own exception type": told is the node's own type.
- Ids are nobody's promise: threads and checkpoints are told by their position.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stepgraph.errors import NodeError
from tests.parity.dialect import THERE, Play
from tests.parity.steps import Step


@dataclass(frozen=True)
class Asked:
    """A question under ``__interrupt__``."""

    value: Any


@dataclass(frozen=True)
class Raised:
    """What a step ended with, if it did not return."""

    type: str


@dataclass(frozen=True)
class Told:
    """All that can be seen of a thread after a program."""

    returned: list[Any]
    """For each step what it returned, or raised."""
    heads: list[dict[str, Any]]
    """For each step the thread's head after it."""
    history: list[dict[str, Any]]
    """Newest first."""


async def tell(play: Play, program: Sequence[Step]) -> Told:
    """Plays a program, and tells what came of it."""
    returned: list[Any] = []
    heads: list[dict[str, Any]] = []
    for step in program:
        try:
            returned.append(_shown(await step(play)))
        except Exception as error:
            returned.append(raised(error))
        head = await play.graph.aget_state(play.config)
        heads.append({"next": tuple(sorted(head.next)), "values": head.values, "tasks": _tasks(head, at_head=True)})
    return Told(returned, heads, await told_history(play))


async def told_history(play: Play) -> list[dict[str, Any]]:
    """The thread's checkpoints, newest first."""
    snapshots = await play.history()
    positions = {_id(each.config): number for number, each in enumerate(reversed(snapshots))}
    by_id = {_id(each.config): each for each in snapshots}
    unwritten: set[str | None] = {None}
    told: list[dict[str, Any]] = []
    for each in reversed(snapshots):
        parent = _id(each.parent_config) if each.parent_config else None
        if parent in unwritten and each.next == (play.dialect.START,):
            unwritten.add(_id(each.config))
        told.append(
            {
                "step": each.metadata["step"] + (1 if play.dialect is THERE else 0),
                "source": each.metadata["source"],
                "values": {} if _id(each.config) in unwritten else each.values,
                "next": tuple(sorted(each.next)),
                "parent": None if parent is None else positions[parent],
                "tasks": _tasks(each),
                "writes": _writes(play, each, by_id[parent] if parent else None),
            }
        )
    return told[::-1]


def raised(error: Exception) -> Raised:
    """An error by the name of its type; of the node's own exception, for a node that failed."""
    if isinstance(error, NodeError):
        return Raised(str(error.parts["error_type"]).rpartition(":")[2])
    return Raised(type(error).__name__)


def _shown(returned: Any) -> Any:
    if isinstance(returned, dict) and "__interrupt__" in returned:
        return {**returned, "__interrupt__": _asked(returned["__interrupt__"])}
    return returned


def _asked(interrupts: Any) -> list[Asked]:
    return [Asked(each.value) for each in interrupts]


def _tasks(snapshot: Any, *, at_head: bool = False) -> list[dict[str, Any]]:
    told = []
    for task in sorted(snapshot.tasks, key=lambda task: task.name):
        error = None if task.result is not None or task.error is None else re.split(r"\W", task.error)[0]
        asked = [] if at_head and error is not None else _asked(task.interrupts)
        told.append({"name": task.name, "result": task.result, "error": error, "asks": asked})
    return told


def _writes(play: Play, snapshot: Any, parent: Any) -> Any:
    """Who wrote what on the way to a checkpoint of a super-step: nodes that wrote nothing have an empty mapping."""
    if snapshot.metadata["source"] != "loop":
        return None
    if play.dialect is THERE:
        return {task.name: task.result for task in parent.tasks}
    return {name: write or {} for name, write in snapshot.metadata["writes"].items()}


def _id(config: Any) -> str:
    found: str = config["configurable"]["checkpoint_id"]
    return found
