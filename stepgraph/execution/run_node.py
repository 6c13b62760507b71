"""One task: calls a node's function and its routers, and turns what they return into a `TaskResult`.

Owns what user code may take and return. Knows nothing of Temporal: a worker's activity and the in-memory runner both
call `run_task`, and say how functions that are not async get off the event loop.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from stepgraph.engine.channels import Values, Write
from stepgraph.engine.checkpoint import TaskResult
from stepgraph.engine.constants import START
from stepgraph.errors import InvalidUpdateError, NodeError, StepgraphError, suggest
from stepgraph.execution.registry import GraphRegistry, RegisteredRouter, is_async
from stepgraph.execution.scratchpad import GraphInterrupt, Scratchpad, scratchpad
from stepgraph.protocol.task_request import RouteRequest, TaskRequest
from stepgraph.serde.error_text import first_line, type_name
from stepgraph.serde.plain_json import json_size
from stepgraph.serde.sizes import PAYLOAD_LIMIT, check_size

RunSync = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Runs a function that is not async, off the event loop."""


async def run_task(
    registry: GraphRegistry,
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
        node = registry.node(request.node, request.spec_hash)
        view = registry.schema.view(registry.schema.channels.decode(state))
        token = scratchpad.set(Scratchpad(request.idempotency_key, request.answers))
        try:
            returned = await _call(node.function, view, config if node.takes_config else None, run_sync)
        except GraphInterrupt as interrupted:
            return TaskResult(interrupt=interrupted.interrupt)
        finally:
            scratchpad.reset(token)
        writes = tuple(
            _encoded(registry, request.node, update) for update in _updates(registry, request.node, returned)
        )
    _weigh(request.node, writes, limit)
    return TaskResult(
        writes=writes, goto=await route(registry, request, state, writes, run_sync=run_sync, attempt=attempt)
    )


async def route(
    registry: GraphRegistry,
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
            router = registry.router(request.node, name, request.spec_hash)
            view = registry.schema.view(_with_own_writes(registry, request, state, writes))
            answer = await _call(router.function, view, config if router.takes_config else None, run_sync)
            goto += _destinations(registry, request.node, name, router, answer)
    return tuple(goto)


async def route_by_hand(registry: GraphRegistry, request: RouteRequest, *, run_sync: RunSync) -> tuple[str, ...]:
    """Where a node's routers lead after values were written in its name. Raises nothing but a `StepgraphError`."""
    task = request.task
    try:
        return await route(registry, task, task.state or {}, [request.input, request.writes], run_sync=run_sync)
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


def _updates(registry: GraphRegistry, node: str, returned: Any) -> Iterable[Mapping[str, Any]]:
    for item in returned if isinstance(returned, list | tuple) else [returned]:
        if item is None:
            continue
        update = registry.schema.mapping(item)
        if update is None:
            raise InvalidUpdateError(
                f"Node {node!r} returned {type_name(item)}. Return a mapping of the channels it writes "
                f"({', '.join(map(repr, registry.schema.channels.names))}), a list of mappings, or None.",
                nodes=[node],
            )
        yield update


def _encoded(registry: GraphRegistry, node: str, update: Mapping[str, Any]) -> dict[str, Any]:
    channels = registry.schema.channels
    encoded = {}
    for name, value in update.items():
        if name not in channels:
            raise InvalidUpdateError(
                f"Node {node!r} wrote {name!r}, which the state does not declare.{suggest(str(name), channels.names)}",
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
    check_size(f"What node {node!r} wrote", sizes, limit=limit, nodes=[node])


def _with_own_writes(
    registry: GraphRegistry, request: TaskRequest, state: Mapping[str, Any], writes: Sequence[Mapping[str, Any]]
) -> Values:
    channels = registry.schema.channels
    values = {**(channels.zeros() if request.node == START else {}), **channels.decode(state)}
    own = [Write(request.node, name, value) for write in writes for name, value in write.items()]
    return channels.fold(values, own, step=request.step)


def _destinations(registry: GraphRegistry, node: str, name: str, router: RegisteredRouter, answer: Any) -> list[str]:
    possible = next(
        registry.spec.destinations(branch) for branch in registry.spec.branches_of(node) if branch.name == name
    )
    found = []
    for label in answer if isinstance(answer, list | tuple) else [answer]:
        destination = label
        if router.mapping is not None:
            if not _names(router.mapping, label):
                raise InvalidUpdateError(
                    f"Router {name!r} of node {node!r} returned {label!r}, which its mapping does not name."
                    f"{suggest(str(label), map(str, router.mapping))}",
                    nodes=[node],
                )
            destination = router.mapping[label]
        if destination not in possible:
            raise InvalidUpdateError(
                f"Router {name!r} of node {node!r} leads to {destination!r}, which is not one of its destinations."
                f"{suggest(str(destination), possible)}",
                nodes=[node],
            )
        found.append(destination)
    return found


def _names(mapping: Mapping[Any, str], label: Any) -> bool:
    try:
        return label in mapping
    except TypeError:  # a list or a set, say
        return False
