"""`Runtime`: what a node finds beside its state, with LangGraph's fields.

Owns the class and what it says of a task (`ExecutionInfo`). Refuses to know where a store is or how a context arrived:
`stepgraph.execution.task_context` fills it in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Generic

from typing_extensions import TypeVar

from stepgraph.execution.stream_writer import StreamWriter, no_stream

ContextT = TypeVar("ContextT", default=Any)


def no_heartbeat() -> None:
    """Report progress to nobody: the node has no ``idle_timeout``."""


@dataclass(frozen=True)
class ExecutionInfo:
    """Which attempt at which task is running."""

    checkpoint_id: str
    checkpoint_ns: str
    """LangGraph's namespace of the task: ``node:task_id``."""
    task_id: str
    thread_id: str | None = None
    run_id: str | None = None
    """The id of the Temporal run."""
    node_attempt: int = 1
    """The number of the attempt; the first is 1."""
    node_first_attempt_time: float | None = None
    """When the first attempt started, in seconds since 1970."""

    def patch(self, **overrides: Any) -> ExecutionInfo:
        """Return a copy with other values in some fields."""
        return replace(self, **overrides)


@dataclass(frozen=True)
class StoreOnDemand:
    """A store that is opened when a node first asks for it."""

    open: Callable[[], Any]


class _StoreField:
    """The field ``store`` of `Runtime`, which opens a `StoreOnDemand` when it is read."""

    def __get__(self, runtime: Runtime[Any] | None, owner: type) -> Any:
        if runtime is None:
            return None  # the field's default
        store = runtime.__dict__["_store"]
        return store.open() if isinstance(store, StoreOnDemand) else store

    def __set__(self, runtime: Runtime[Any], store: Any) -> None:
        runtime.__dict__["_store"] = store


@dataclass(frozen=True, kw_only=True, repr=False)
class Runtime(Generic[ContextT]):
    """What a node finds beside its state. A node takes it by a parameter ``runtime``, or calls `get_runtime`.

    Examples:
        >>> def greet(state, runtime: Runtime[Context]):  # doctest: +SKIP
        ...     return {"text": f"Hello {runtime.context.user}"}
    """

    context: ContextT = None  # type: ignore[assignment]  # without a context_schema there is none
    """The ``context`` of the call: ``graph.invoke(input, config, context=...)``."""
    store: Any = _StoreField()
    """The store of ``compile(store=...)`` or of the worker's process; `None` if there is none."""
    stream_writer: StreamWriter = no_stream
    """Sends a value to those who follow the thread."""
    heartbeat: Callable[[], None] = no_heartbeat
    """Reports progress, for a node with an ``idle_timeout``."""
    previous: Any = None
    """The previous result of a function of LangGraph's functional API. In a graph it is always `None`."""
    execution_info: ExecutionInfo | None = None
    server_info: Any = None
    """What LangGraph's platform says of its server. Here it is always `None`."""
    control: Any = None
    """How LangGraph drains a run. Here it is always `None`: a worker that stops leaves its tasks to another."""

    def __repr__(self) -> str:
        shown = [each.name for each in fields(self) if each.name != "store"]
        return f"Runtime({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    def override(self, **overrides: Any) -> Runtime[ContextT]:
        """Return a copy with other values in some fields."""
        return replace(self, **{"store": self.__dict__["_store"], **overrides})

    def merge(self, other: Any) -> Runtime[ContextT]:
        """Return a copy with those values of another runtime that are set there."""
        theirs = {each.name: getattr(other, each.name) for each in fields(self) if hasattr(other, each.name)}
        unset = ("no_stream", "no_heartbeat", "_no_op_stream_writer", "_no_op_heartbeat")
        return self.override(
            **{name: value for name, value in theirs.items() if value and getattr(value, "__name__", "") not in unset}
        )

    def patch_execution_info(self, **overrides: Any) -> Runtime[ContextT]:
        """Return a copy with other values in some fields of ``execution_info``."""
        if self.execution_info is None:
            raise RuntimeError("This runtime has no execution_info to patch: it belongs to no task.")
        return self.override(execution_info=self.execution_info.patch(**overrides))

    @property
    def drain_requested(self) -> bool:
        """Whether LangGraph's ``control`` asks the run to end."""
        return self.control is not None and bool(self.control.drain_requested)

    @property
    def drain_reason(self) -> str | None:
        """Why it does."""
        return None if self.control is None else self.control.drain_reason
