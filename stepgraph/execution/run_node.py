"""One task: calls a node's function and its routers, and turns what they return into a `TaskResult`.

Owns what user code may take and return. Knows nothing of Temporal: a worker's activity and the in-memory runner both
call `run_task`, and say how functions that are not async get off the event loop.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from stepgraph.engine.channels import Values, Write
from stepgraph.engine.checkpoint import Task, TaskResult
from stepgraph.engine.constants import START
from stepgraph.engine.thread import Thread
from stepgraph.errors import InvalidUpdateError, NodeError, StepgraphError, near_miss
from stepgraph.execution.registry import GraphCode, RouterCode, is_async
from stepgraph.execution.scratchpad import Asking, Interrupted, asking
from stepgraph.serde.sizes import PAYLOAD_LIMIT, weigh
from stepgraph.serde.type_codec import first_line, json_size, type_name

ENTRY_TIMEOUT = 3600.0
"""Seconds that the routers of the start node may take: they are code without a node to carry options."""

RunSync = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Runs a function that is not async, off the event loop."""


class TaskRequest(BaseModel):
    """Everything a task's node may know."""

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
    """The values at the checkpoint, as JSON data; `None` when they are to be had by the checkpoint's id."""
    input: dict[str, Any] | None = None
    """For the start node: what it is to write."""
    routers: tuple[str, ...] = ()
    """The conditional edges to ask after the node, by name: those of the run's spec."""
    answers: tuple[Any, ...] = ()
    """What people answered to the node's interrupts so far, in their order."""
    config: dict[str, Any] = {}
    """The caller's config: ``configurable``, ``tags``, ``metadata``."""
    stored: bool = False
    """Whether external storage takes what Temporal does not carry."""

    @property
    def idempotency_key(self) -> str:
        """The same on every attempt at this task, and for no other task."""
        return f"{self.thread_id}/{self.checkpoint_id}/{self.task_id}"


def request_for(thread: Thread, task: Task, config: Mapping[str, Any], *, with_state: bool = False) -> TaskRequest:
    """What a task's node may know, as the thread has it; the values at the checkpoint only where they are asked for."""
    head = thread.head
    assert head is not None
    return TaskRequest(
        graph=thread.spec.name,
        node=task.node,
        step=task.step,
        thread_id=thread.thread_id,
        run_id=thread.run_id,
        checkpoint_id=task.checkpoint_id,
        task_id=task.id,
        spec_hash=thread.spec.hash,
        state=thread.state if with_state else None,
        input=dict(head.input or {}) if task.node == START else None,
        routers=tuple(branch.name for branch in thread.spec.branches_of(task.node)),
        answers=thread.answers(task),
        config=dict(config),
        stored=thread.stored,
    )


class RouteRequest(BaseModel):
    """A node whose routers are to be asked after values were written in its name."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    task: TaskRequest
    input: dict[str, Any] = {}
    """What the node writes first: what is kept of an input."""
    writes: dict[str, Any] = {}


async def run_task(
    code: GraphCode,
    request: TaskRequest,
    state: Mapping[str, Any],
    *,
    run_sync: RunSync,
    attempt: int = 1,
    limit: int = PAYLOAD_LIMIT,
) -> TaskResult:
    """Runs a task on the values given as JSON data.

    The node gets containers of its own: one that mutates its input harms neither its siblings nor the thread.

    Raises:
        MissingNodeError: the code lacks the node, or one of its routers.
        InvalidUpdateError: the node returned what its channels cannot take.
        Exception: whatever the node or a router raises.
    """
    config = _config(request, attempt)
    if request.node == START:
        writes: tuple[dict[str, Any], ...] = (dict(request.input or {}),)
    else:
        node = code.node(request.node, request.spec_hash)
        view = code.schema.view(code.schema.channels.decode(state))
        token = asking.set(Asking(request.idempotency_key, request.answers))
        try:
            returned = await _call(node.function, view, config if node.takes_config else None, run_sync)
        except Interrupted as interrupted:
            return TaskResult(ask=interrupted.ask)
        finally:
            asking.reset(token)
        writes = tuple(_encoded(code, request.node, update) for update in _updates(code, request.node, returned))
    _weigh(request.node, writes, limit)
    return TaskResult(writes=writes, goto=await route(code, request, state, writes, run_sync=run_sync, attempt=attempt))


async def route(
    code: GraphCode,
    request: TaskRequest,
    state: Mapping[str, Any],
    writes: Sequence[Mapping[str, Any]],
    *,
    run_sync: RunSync,
    attempt: int = 1,
) -> tuple[str, ...]:
    """Where a node's routers lead, asked with the state plus the node's own writes. Raises like `run_task`."""
    goto: list[str] = []
    if request.routers:
        config = _config(request, attempt)
        for name in request.routers:
            router = code.router(request.node, name, request.spec_hash)
            view = code.schema.view(_with_own_writes(code, request, state, writes))
            answer = await _call(router.function, view, config if router.takes_config else None, run_sync)
            goto += _destinations(code, request.node, name, router, answer)
    return tuple(goto)


async def route_by_hand(code: GraphCode, request: RouteRequest, *, run_sync: RunSync) -> tuple[str, ...]:
    """Where a node's routers lead after values were written in its name. Raises nothing but a `StepgraphError`."""
    task = request.task
    try:
        return await route(code, task, task.state or {}, [request.input, request.writes], run_sync=run_sync)
    except StepgraphError:
        raise
    except Exception as error:
        raise NodeError(
            f"A router of node {task.node!r} failed: {type(error).__name__}: {first_line(error)}.",
            graph=task.graph,
            node=task.node,
            thread_id=task.thread_id,
            error_type=f"{type(error).__module__}:{type(error).__qualname__}",
        ) from error


def _config(request: TaskRequest, attempt: int) -> dict[str, Any]:
    """LangGraph's config, with the place of the task in it; one of the task's own, whatever the node does to it."""
    config = copy.deepcopy(request.config)
    config["configurable"] = {
        **config.get("configurable", {}),
        "thread_id": request.thread_id,
        "checkpoint_id": request.checkpoint_id,
    }
    config["metadata"] = {
        **config.get("metadata", {}),
        "graph": request.graph,
        "node": request.node,
        "step": request.step,
        "run_id": request.run_id,
        "task_id": request.task_id,
        "attempt": attempt,
        "idempotency_key": request.idempotency_key,
    }
    return config


async def _call(function: Callable[..., Any], view: Any, config: dict[str, Any] | None, run_sync: RunSync) -> Any:
    arguments = {} if config is None else {"config": config}
    if is_async(function):
        return await function(view, **arguments)
    returned = await run_sync(lambda: _returned(function, view, arguments))
    return await returned if inspect.isawaitable(returned) else returned


def _returned(function: Callable[..., Any], view: Any, arguments: dict[str, Any]) -> Any:
    """What it returns; a `StopIteration` cannot travel through a future, and would leave it pending for ever."""
    try:
        return function(view, **arguments)
    except StopIteration as error:
        raise RuntimeError(f"raised StopIteration({error.value!r})") from error


def _updates(code: GraphCode, node: str, returned: Any) -> Iterable[Mapping[str, Any]]:
    for item in returned if isinstance(returned, list | tuple) else [returned]:
        if item is None:
            continue
        update = code.schema.mapping(item)
        if update is None:
            raise InvalidUpdateError(
                f"Node {node!r} returned {type_name(item)}. Return a mapping of the channels it writes "
                f"({', '.join(map(repr, code.schema.channels.names))}), a list of mappings, or None.",
                nodes=[node],
            )
        yield update


def _encoded(code: GraphCode, node: str, update: Mapping[str, Any]) -> dict[str, Any]:
    channels = code.schema.channels
    encoded = {}
    for name, value in update.items():
        if name not in channels:
            raise InvalidUpdateError(
                f"Node {node!r} wrote {name!r}, which the state does not declare."
                f"{near_miss(str(name), channels.names)}",
                channel=name,
                nodes=[node],
            )
        try:
            encoded[name] = channels[name].encode_write(value)
        except InvalidUpdateError as error:
            error.message = f"Node {node!r}: {error.message}"
            error.parts["nodes"] = [node]
            raise
    return encoded


def _weigh(node: str, writes: tuple[dict[str, Any], ...], limit: int) -> None:
    sizes: dict[str, int] = {}
    for write in writes:
        for name, value in write.items():
            sizes[name] = sizes.get(name, 0) + json_size(value)
    weigh(f"What node {node!r} wrote", sizes, limit=limit, nodes=[node])


def _with_own_writes(
    code: GraphCode, request: TaskRequest, state: Mapping[str, Any], writes: Sequence[Mapping[str, Any]]
) -> Values:
    channels = code.schema.channels
    values = {**(channels.zeros() if request.node == START else {}), **channels.decode(state)}
    own = [Write(request.node, name, value) for write in writes for name, value in write.items()]
    return channels.fold(values, own, step=request.step)


def _destinations(code: GraphCode, node: str, name: str, router: RouterCode, answer: Any) -> list[str]:
    possible = next(code.spec.destinations(branch) for branch in code.spec.branches_of(node) if branch.name == name)
    found = []
    for label in answer if isinstance(answer, list | tuple) else [answer]:
        destination = label
        if router.mapping is not None:
            if not _names(router.mapping, label):
                raise InvalidUpdateError(
                    f"Router {name!r} of node {node!r} returned {label!r}, which its mapping does not name."
                    f"{near_miss(str(label), map(str, router.mapping))}",
                    nodes=[node],
                )
            destination = router.mapping[label]
        if destination not in possible:
            raise InvalidUpdateError(
                f"Router {name!r} of node {node!r} leads to {destination!r}, which is not one of its destinations."
                f"{near_miss(str(destination), possible)}",
                nodes=[node],
            )
        found.append(destination)
    return found


def _names(mapping: Mapping[Any, str], label: Any) -> bool:
    try:
        return label in mapping
    except TypeError:  # a list or a set, say
        return False
