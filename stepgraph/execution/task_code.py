"""The seam for nodes that another library runs: what `stepgraph.langgraph` does in place of functions and routers.

`run_task` and `route` hand a task over where a registry has a `TaskCode`. Owns what goes over and what comes back;
everything around a task (recorded data, sizes, folds, failures) is the same as for functions.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from stepgraph.engine.checkpoint import InterruptRequest
from stepgraph.engine.spec import GraphSpec
from stepgraph.execution.runtime import Runtime
from stepgraph.protocol.send import Send
from stepgraph.protocol.task_request import TaskRequest


@dataclass(frozen=True)
class CodeTask:
    """One attempt at a task, for a `TaskCode`."""

    request: TaskRequest
    spec: GraphSpec
    """The run's spec."""
    input: Any
    """What the task was sent; the start node's values by channel. `None` for a task that reads the state."""
    values: Mapping[str, Any]
    """The values at the task's checkpoint, of the declared types. A channel without a value is missing."""
    config: dict[str, Any]
    """The task's config, as nodes get it."""
    runtime: Runtime[Any]
    """The task's runtime, as nodes get it."""
    run_sync: Callable[[Callable[[], Any]], Awaitable[Any]]
    """Runs a function that is not async, off the event loop."""


@dataclass(frozen=True)
class TaskOutput:
    """What came of a task: of a node's function, or of a `TaskCode`."""

    writes: Sequence[Mapping[str, Any]] = ()
    """Values by channel, of the types that nodes write; in the order of the writes."""
    goto: tuple[str, ...] = ()
    """The nodes that run next, beside those that the spec's edges lead to; `END` is left out."""
    sends: tuple[Send, ...] = ()
    """The nodes that run next with an input of their own."""
    interrupt: InterruptRequest | None = None
    """What the node waits for. If set, the task has not finished."""


class TaskCode(Protocol):
    """Runs the tasks of a graph."""

    async def run(self, task: CodeTask) -> TaskOutput:
        """Run a task's node and what follows from its output. Raises whatever the node raises."""

    async def route(self, task: CodeTask, update: Mapping[str, Any]) -> TaskOutput:
        """Return where a node leads whose output is the update; do not run it. The writes of the answer are ignored."""
