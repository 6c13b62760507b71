"""The requests to run a task, and to call the routers of a node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from stepgraph.engine.checkpoint import Checkpoint, Task
from stepgraph.engine.constants import START
from stepgraph.engine.thread import Thread

START_TIMEOUT = 3600.0
"""Seconds that the routers of the start node may take. They belong to no node that could have a timeout."""


class TaskRequest(BaseModel):
    """A task, with everything that its node may know."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    graph: str
    node: str
    step: int
    thread_id: str
    run_id: str
    checkpoint_id: str
    task_id: str
    spec_hash: str
    state: dict[str, Any] | None = None
    """The values at the checkpoint, as JSON data; `None` if the activity has to read them by ``checkpoint_id``."""
    input: dict[str, Any] | None = None
    """For the start node: the input, which it writes."""
    routers: tuple[str, ...] = ()
    """The names of the conditional edges whose routers run after the node, from the run's spec."""
    answers: tuple[Any, ...] = ()
    """The answers to the node's interrupts so far, in the order of the interrupts."""
    config: dict[str, Any] = {}
    """The part of the caller's config that nodes see: ``configurable``, ``tags``, ``metadata``."""
    uses_external_storage: bool = False
    """Whether external storage takes what Temporal does not carry."""

    @property
    def idempotency_key(self) -> str:
        """The same on every attempt at this task, and for no other task."""
        return f"{self.thread_id}/{self.checkpoint_id}/{self.task_id}"


class RouteRequest(BaseModel):
    """A node whose routers are to be called after an update in its name."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    task: TaskRequest
    input: dict[str, Any] = {}
    """The part of an input that is written before the update."""
    writes: dict[str, Any] = {}
    """The values of the update."""


def task_request(thread: Thread, task: Task, config: Mapping[str, Any], *, with_state: bool = False) -> TaskRequest:
    """Return the request for a task of the thread's head; with the head's values only if ``with_state``."""
    head = thread.head
    assert head is not None, "a task belongs to a checkpoint"
    return _request(
        thread,
        config,
        node=task.node,
        step=task.step,
        checkpoint_id=task.checkpoint_id,
        task_id=task.id,
        state=thread.state if with_state else None,
        input=dict(head.input or {}) if task.node == START else None,
        answers=thread.answers(task),
        uses_external_storage=thread.uses_external_storage,
    )


def task_request_for_routers(
    thread: Thread, target: Checkpoint | None, author: str, config: Mapping[str, Any]
) -> TaskRequest:
    """Return the request for the routers of ``author``, in whose name an update is made at ``target``."""
    return _request(
        thread,
        config,
        node=author,
        step=target.step + 1 if target else 0,
        checkpoint_id=target.id if target else "",
        task_id=author,
        state=thread.channels.encode(target.values) if target else {},
    )


def _request(thread: Thread, config: Mapping[str, Any], *, node: str, **fields: Any) -> TaskRequest:
    return TaskRequest(
        graph=thread.spec.name,
        node=node,
        thread_id=thread.thread_id,
        run_id=thread.run_id,
        spec_hash=thread.spec.hash,
        routers=tuple(branch.name for branch in thread.spec.branches_of(node)),
        config=dict(config),
        **fields,
    )
