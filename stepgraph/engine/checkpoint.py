"""The immutable data of the engine: checkpoints, their tasks, and what tasks leave (results, failures, interrupts)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Source = Literal["input", "loop", "update", "fork"]
"""Why a checkpoint was made."""

SEVERAL = "$writes"
"""The key under which a snapshot lists several writes of one task to one channel, as LangGraph does."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What is true after a super-step. Never changed afterwards."""

    id: str
    parent_id: str | None
    step: int
    source: Source
    created_at: str
    """ISO 8601, UTC."""
    values: Mapping[str, Any]
    """The values of the channels, of their declared types."""
    triggers: tuple[str, ...] = ()
    """The nodes that the checkpoint has due, by name."""
    joins: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """For each incomplete join, by its key: the sources that have finished."""
    writes: Mapping[str, Any] | None = None
    """By node, what was written to get from the parent to this checkpoint, as JSON data."""
    input: Mapping[str, Any] | None = None
    """The caller's input, as JSON data. The start node writes it in the next super-step. Only on input checkpoints."""
    forked_from: str | None = None
    """The thread id of the parent if it is on another thread."""

    @classmethod
    def from_data(cls, data: CheckpointData, values: Mapping[str, Any]) -> Checkpoint:
        """Return a checkpoint from JSON data and from its decoded values."""
        return cls(values=values, **dict(data))

    def to_data(self) -> CheckpointData:
        """Return the checkpoint as JSON data, without its values."""
        return CheckpointData(**{name: getattr(self, name) for name in CheckpointData.model_fields})


class CheckpointData(BaseModel):
    """A `Checkpoint` as JSON data, without its values."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    parent_id: str | None = None
    step: int
    source: Source
    created_at: str
    triggers: tuple[str, ...] = ()
    joins: dict[str, tuple[str, ...]] = {}
    writes: dict[str, Any] | None = None
    input: dict[str, Any] | None = None
    forked_from: str | None = None


class Task(BaseModel):
    """One node call inside a super-step."""

    model_config = ConfigDict(frozen=True)

    id: str
    """Unique among the tasks of its checkpoint, and the same in every run and every attempt."""
    node: str
    checkpoint_id: str
    step: int
    """The step of the checkpoint that the task's result goes into."""


class InterruptRequest(BaseModel):
    """A node's request for an answer from outside, made by ``interrupt(value)``."""

    model_config = ConfigDict(frozen=True)

    id: str
    value: Any = None
    timeout: float | None = None
    """Seconds after which the default becomes the answer."""
    default: Any = None
    has_default: bool = False
    deadline: str | None = None
    """When the timeout ends: ISO 8601, UTC."""


class TaskInterrupts(BaseModel):
    """The interrupts of one task, in the order of its node's calls, and the answers to all of them or all but one."""

    model_config = ConfigDict(frozen=True)

    requests: tuple[InterruptRequest, ...] = ()
    answers: tuple[Any, ...] = ()

    @property
    def waiting(self) -> InterruptRequest | None:
        """The interrupt that waits for an answer, if there is one."""
        return self.requests[-1] if len(self.requests) > len(self.answers) else None


class TaskResult(BaseModel):
    """What a task's run ended with: its writes and its routers' destinations, or an interrupt."""

    model_config = ConfigDict(frozen=True)

    writes: tuple[dict[str, Any], ...] = ()
    """Values by channel, as JSON data: one mapping for each that the node returned."""
    goto: tuple[str, ...] = ()
    """The nodes that its routers chose."""
    interrupt: InterruptRequest | None = None
    """The request that the node waits for. If set, the task has not finished."""

    @property
    def merged(self) -> dict[str, Any] | None:
        """All writes as one mapping, for snapshots; `None` if there are none.

        Several writes to one channel become ``{"$writes": [...]}``, as in LangGraph.
        """
        if not self.writes:
            return None
        by_channel: dict[str, list[Any]] = {}
        for write in self.writes:
            for name, value in write.items():
                by_channel.setdefault(name, []).append(value)
        return {name: values[0] if len(values) == 1 else {SEVERAL: values} for name, values in by_channel.items()}


class TaskFailure(BaseModel):
    """Why a task failed after its last attempt."""

    model_config = ConfigDict(frozen=True)

    error_type: str
    """``module:qualname`` of the exception."""
    error_message: str
    traceback: str = ""
    attempts: int = 1
    error: dict[str, Any] | None = None
    """The exception in its wire form if it is a `StepgraphError`."""

    @property
    def summary(self) -> str:
        """The exception's name and message: ``ConnectionError: no route``."""
        name = self.error_type.partition(":")[2] or self.error_type
        return f"{name}: {self.error_message}" if self.error_message else name
