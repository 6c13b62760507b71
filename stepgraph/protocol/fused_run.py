"""The request for fused super-steps, and the result of the activity that executes them."""

from __future__ import annotations

from typing import Any

from stepgraph.engine.changes import Change
from stepgraph.engine.checkpoint import CheckpointData, TaskFailure, TaskResult
from stepgraph.engine.folding import Applied
from stepgraph.engine.spec import Durability
from stepgraph.protocol.message import Message
from stepgraph.serde.formats import Data


class FusedStepsRequest(Message):
    """The checkpoint to start from, and the bounds at which no further super-step begins."""

    graph: str
    thread_id: str
    run_id: str
    spec_hash: str
    head: CheckpointData
    state: dict[str, Any] | None = None
    """The values at the head, as JSON data; `None` if the activity has to read them by `checkpoint_id`."""
    checkpoints_made: int
    """How many checkpoints the run has made so far. The ids of the next ones continue from there."""
    steps_left: int
    """What is left of the recursion limit."""
    breaks: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    """The breakpoints before and after nodes."""
    passes_breakpoint: bool = False
    """Whether to continue from a breakpoint at the head."""
    durability: Durability | None = None
    """The durability of the invoke, in place of the graph's."""
    config: dict[str, Any] = {}
    """The part of the caller's config that nodes see."""
    max_steps: int
    """Super-steps that the activity executes at most."""
    max_seconds: float
    """Seconds after which no further super-step begins."""
    max_bytes: int
    """Bytes of results, as JSON, after which no further super-step begins."""
    storage: bool = False
    """Whether external storage takes what Temporal does not carry."""

    @property
    def checkpoint_id(self) -> str:
        """The checkpoint that ``state`` belongs to."""
        return self.head.id


class FusedStep(Data):
    """A complete super-step."""

    at: str
    """When it was committed; ISO 8601, UTC."""
    results: dict[str, TaskResult]
    """By task id."""
    changes: dict[str, Change] = {}
    """The channels that only the graph's code could fold, because several tasks wrote to them."""

    @property
    def applied(self) -> Applied:
        """What the graph's code told of the super-step."""
        return Applied(changes=self.changes)


class FusedStepsResult(Message):
    """What the activity executed, as its result and as the progress in its heartbeats."""

    ran: str = ""
    """The complete super-steps, as text for a human: ``steps 3 to 41``."""
    steps: tuple[FusedStep, ...] = ()
    results: dict[str, TaskResult] = {}
    """Results and interrupts of the super-step after them, if it is not complete; by task id."""
    failures: dict[str, TaskFailure] = {}
    """Failures of that super-step, by task id."""
    failed_attempts: dict[str, int] = {}
    """How many attempts have failed at tasks of that super-step that have no outcome yet, by task id."""
    run_individually: bool = False
    """Whether the remaining tasks of that super-step need an activity each."""
    spec_mismatch: bool = False
    """The worker's code has another spec than the run was started with, so it executed nothing. Each task needs an
    activity of its own from now on."""
