"""The frozen data of the engine: checkpoints, the tasks due at one, and what became of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Source = Literal["input", "loop", "update", "fork"]

SEVERAL = "$writes"
"""The key under which several writes of one task to one channel are shown."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What is true after a super-step. Never edited: what follows is another checkpoint."""

    id: str
    parent_id: str | None
    step: int
    source: Source
    created_at: str
    """ISO 8601, UTC."""
    values: Mapping[str, Any]
    triggers: tuple[str, ...] = ()
    """Which nodes run next, by name."""
    joins: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """For each join under way, which of its sources have finished."""
    writes: Mapping[str, Any] | None = None
    """Who wrote what to get here, as JSON data: by node."""
    input: Mapping[str, Any] | None = None
    """What the virtual start node is to write, as JSON data; on a checkpoint made by an input."""
    forked_from: str | None = None
    """The thread that the parent is on, where that is another one."""

    @classmethod
    def from_data(cls, data: CheckpointData, values: Mapping[str, Any]) -> Checkpoint:
        """Return the checkpoint that has these values."""
        return cls(values=values, **dict(data))

    def to_data(self) -> CheckpointData:
        """Return the checkpoint as JSON data, without its values."""
        return CheckpointData(**{name: getattr(self, name) for name in CheckpointData.model_fields})


class CheckpointData(BaseModel):
    """A checkpoint as JSON data, without its values."""

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
    """One node call inside a super-step. ``id`` is its path: unique at its checkpoint, and the same in every run."""

    model_config = ConfigDict(frozen=True)

    id: str
    node: str
    checkpoint_id: str
    step: int
    """The step of the checkpoint that this task helps to make."""


class InterruptRequest(BaseModel):
    """A question that a task's node has put to people."""

    model_config = ConfigDict(frozen=True)

    id: str
    value: Any = None
    timeout: float | None = None
    """Seconds after which the default answers."""
    default: Any = None
    has_default: bool = False
    deadline: str | None = None
    """ISO 8601, UTC."""


class TaskInterrupts(BaseModel):
    """The questions that a task's node has asked so far, in order, and the answers that it was given."""

    model_config = ConfigDict(frozen=True)

    requests: tuple[InterruptRequest, ...] = ()
    answers: tuple[Any, ...] = ()

    @property
    def waiting(self) -> InterruptRequest | None:
        """The question that waits for an answer."""
        return self.requests[-1] if len(self.requests) > len(self.answers) else None


class TaskResult(BaseModel):
    """What a finished task leaves: its writes, a mapping for each that the node returned; where its routers lead."""

    model_config = ConfigDict(frozen=True)

    writes: tuple[dict[str, Any], ...] = ()
    goto: tuple[str, ...] = ()
    interrupt: InterruptRequest | None = None
    """The task has not finished: its node asks this first."""

    @property
    def merged(self) -> dict[str, Any] | None:
        """All writes as one mapping, to be shown; `None` where there were none.

        Several to one channel are shown as LangGraph does: ``{"$writes": [...]}``.
        """
        if not self.writes:
            return None
        by_channel: dict[str, list[Any]] = {}
        for write in self.writes:
            for name, value in write.items():
                by_channel.setdefault(name, []).append(value)
        return {name: values[0] if len(values) == 1 else {SEVERAL: values} for name, values in by_channel.items()}


class TaskFailure(BaseModel):
    """Why a task failed for good."""

    model_config = ConfigDict(frozen=True)

    error_type: str
    """``module:qualname`` of the exception."""
    error_message: str
    traceback: str = ""
    attempts: int = 1
    error: dict[str, Any] | None = None
    """A stepgraph error in its wire form, where the failure is one."""

    @property
    def summary(self) -> str:
        """``ConnectionError: no route``"""
        name = self.error_type.partition(":")[2] or self.error_type
        return f"{name}: {self.error_message}" if self.error_message else name
