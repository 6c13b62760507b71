"""The request to run a task, and the answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stepgraph.engine.checkpoint import Checkpoint, Task, TaskResult
from stepgraph.engine.constants import START
from stepgraph.engine.thread import Thread
from stepgraph.protocol.message import Message
from stepgraph.protocol.task_path import sent_numbers

START_TIMEOUT = 3600.0
"""Seconds that the routers of the start node may take. They belong to no node that could have a timeout."""

TIMEOUT_GRACE = 10.0
"""Seconds that an attempt may take beyond its node's timeout, which the worker enforces, until the server ends it."""

HEARTBEAT_TIMEOUT = 18.0
"""Seconds without a heartbeat after which a worker counts as lost, unless the node says otherwise.

A machine that is lost costs its threads this time and a second for the retry. The SDK gives up an attempt of which it
hears nothing for 5 seconds longer, so a node may keep Python's interpreter lock for 20 seconds."""


class CodeRequest(Message):
    """What every request to the graph's code says: the run that makes it, and the values that the code works on."""

    graph: str
    thread_id: str
    run_id: str
    checkpoint_id: str
    """The checkpoint whose values the code reads."""
    step: int
    """The step of the checkpoint that is made with the answer."""
    spec_hash: str
    """The hash of the run's spec. A worker whose code has another one queries the run for its spec."""
    stamps: dict[str, str] = {}
    """The stamps of the values that were last proven under other types than those of the run's spec."""
    state: dict[str, Any] | None = None
    """The values at the checkpoint, as JSON data; `None` if the activity has to read them by ``checkpoint_id``."""
    config: dict[str, Any] = {}
    """The part of the caller's config that nodes see: ``configurable``, ``tags``, ``metadata``."""
    storage: bool = False
    """Whether external storage takes what Temporal does not carry."""


class TaskRequest(CodeRequest):
    """A task, with everything that its node may know."""

    node: str
    task_id: str
    planned_at: str | None = None
    """The checkpoint where the task was first planned, if that is another one."""
    input: Any = None
    """For the start node: the input, which it writes. For a task that was sent: what its node gets as its state."""
    sent_number: int | None = None
    """Its place among the tasks that were sent; `None` if no other task sent it."""
    answers: tuple[Any, ...] = ()
    """The answers to the node's interrupts so far, in the order of the interrupts."""
    nested: Any = None
    """What graphs inside of the node had done when it was last interrupted (`InterruptRequest.nested`)."""
    failed_attempts: int = 0
    """How many attempts at the task have failed before this activity."""
    steps_left: int = 0
    """Super-steps that the invoke may still take, this one included."""

    @property
    def sent(self) -> bool:
        """Whether another task sent it. It then gets an input of its own, not the state."""
        return self.sent_number is not None

    @property
    def idempotency_key(self) -> str:
        """The same on every attempt at this task, and for no other task."""
        return f"{self.thread_id}/{self.planned_at or self.checkpoint_id}/{self.task_id}"


class TaskAnswer(TaskResult, Message):
    """The answer to a `TaskRequest`."""


class TaskProgress(Message):
    """What an attempt at a task reports in its heartbeats, for the next attempt."""

    failed_attempts: int = 0
    """How many attempts at the task have failed: by an exception of the node, or by its timeout."""
    left_attempts: int = 0
    """How many attempts were left to another worker, because this one's code could not make them."""


def task_request(
    thread: Thread, task: Task, config: Mapping[str, Any], *, with_state: bool = False, failed_attempts: int = 0
) -> TaskRequest:
    """Return the request for a task of the thread's head; with the head's values only if ``with_state``."""
    head = thread.head
    assert head is not None, "a task belongs to a checkpoint"
    return TaskRequest(
        **request_fields(thread, head, config),
        node=task.node,
        task_id=task.id,
        planned_at=task.checkpoint_id if task.checkpoint_id != head.id else None,
        state=thread.state if with_state else None,
        input=dict(head.input or {}) if task.node == START else task.input,
        sent_number=sent_numbers(head.tasks).get(task.id),
        answers=thread.answers(task),
        nested=thread.nested(task),
        failed_attempts=failed_attempts,
        steps_left=thread.steps_left,
    )


def request_fields(thread: Thread, checkpoint: Checkpoint, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a `CodeRequest` for code that works on the values of a checkpoint."""
    return {
        "graph": thread.spec.name,
        "thread_id": thread.thread_id,
        "run_id": thread.run_id,
        "checkpoint_id": checkpoint.id,
        "step": checkpoint.step + 1,
        "spec_hash": thread.spec.hash,
        "stamps": thread.spec.deviating(checkpoint.stamps),
        "config": dict(config),
        "storage": thread.uses_external_storage,
    }
