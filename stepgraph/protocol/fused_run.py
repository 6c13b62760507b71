"""What the activity of fused super-steps is asked, and what it answers."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from stepgraph.engine.checkpoint import CheckpointData, TaskFailure, TaskResult


class FusedStepsRequest(BaseModel):
    """Where to go on from, and how far. The state is the one at ``head``."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    graph: str
    thread_id: str
    run_id: str
    spec_hash: str
    head: CheckpointData
    state: dict[str, Any] | None = None
    """The values at the head, as JSON data; `None` when they are to be had by its id."""
    checkpoints_made: int
    """Checkpoints that the run has made so far; the next are numbered from there."""
    steps_left: int
    """What is left of the recursion limit."""
    breaks: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    passes_breakpoint: bool = False
    """Whether to go on from a breakpoint at the head."""
    config: dict[str, Any] = {}
    max_steps: int
    max_seconds: float
    max_bytes: int
    uses_external_storage: bool = False
    """Whether external storage takes what Temporal does not carry."""

    @property
    def checkpoint_id(self) -> str:
        """Whose values ``state`` are."""
        return self.head.id


class FusedStep(BaseModel):
    """A super-step that was run: when it was complete (ISO 8601, UTC), and the result of each of its tasks."""

    model_config = ConfigDict(frozen=True)

    at: str
    results: dict[str, TaskResult]


class FusedStepsResult(BaseModel):
    """What was run."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    ran: str = ""
    """In words, for people: ``steps 3 to 41``."""
    steps: tuple[FusedStep, ...] = ()
    results: dict[str, TaskResult] = {}
    """What tasks of the super-step after them have finished with, or asked, where it ended otherwise."""
    failures: dict[str, TaskFailure] = {}
    run_individually: bool = False
    """That super-step is to be run by activities of its own."""
    spec_mismatch: bool = False
    """The worker has other code than the run was started with, so it can only be given one task at a time."""
