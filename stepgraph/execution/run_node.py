"""One task: calls a node's function and its routers, and turns what they return into a `TaskResult`.

Owns what user code takes and may return. Knows nothing of Temporal, timeouts and retries: activities and the in-memory
runner both call `run_task`, and pass in how a function that is not async runs off the event loop.
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
from stepgraph.execution.scratchpad import GraphInterrupt, Scratchpad, current_scratchpad
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
    """Run a task, and return its writes and the nodes that its routers lead to, or its interrupt.

    The node gets its own copy of the state. If it mutates it, its siblings and the thread are not affected.

    Args:
        registry: the graph's code.
        request: the task.
        state: the values at the task's checkpoint, as JSON data.
        run_sync: runs a function that is not async, off the event loop.
        attempt: the number of the attempt, which the node finds in its config.
        limit: the largest size of the writes, in bytes of JSON.

    Raises:
        MissingNodeError: the code lacks the node, or one of its routers.
        InvalidUpdateError: the node returned values that its channels cannot take, or a router an unknown destination.
        PayloadTooLargeError: the writes are larger than ``limit``.
        Exception: whatever the node or a router raises.
    """
    config = _node_config(request, attempt)
    if request.node == START:
        writes: tuple[dict[str, Any], ...] = (dict(request.input or {}),)
    else:
        node = registry.node(request.node, request.spec_hash)
        node_state = registry.schema.node_state(registry.schema.channels.decode(state))
        token = current_scratchpad.set(Scratchpad(request.idempotency_key, request.answers))
        try:
            returned = await _call(node.function, node_state, config if node.takes_config else None, run_sync)
        except GraphInterrupt as interrupted:
            return TaskResult(interrupt=interrupted.request)
        finally:
            current_scratchpad.reset(token)
        writes = tuple(
            _encode_update(registry, request.node, update) for update in _updates_in(registry, request.node, returned)
        )
    _check_write_size(request.node, writes, limit)
    goto = await route(registry, request, state, writes, run_sync=run_sync, attempt=attempt)
    return TaskResult(writes=writes, goto=goto)


async def route(
    registry: GraphRegistry,
    request: TaskRequest,
    state: Mapping[str, Any],
    writes: Sequence[Mapping[str, Any]],
    *,
    run_sync: RunSync,
    attempt: int = 1,
) -> tuple[str, ...]:
    """Call the node's routers with the state plus the node's own writes; return the nodes that they lead to.

    Raises like `run_task`.
    """
    goto: list[str] = []
    if request.routers:
        config = _node_config(request, attempt)
        for name in request.routers:
            router = registry.router(request.node, name, request.spec_hash)
            node_state = registry.schema.node_state(_with_own_writes(registry, request, state, writes))
            returned = await _call(router.function, node_state, config if router.takes_config else None, run_sync)
            goto += _destinations(registry, request.node, name, router, returned)
    return tuple(goto)


async def route_by_hand(registry: GraphRegistry, request: RouteRequest, *, run_sync: RunSync) -> tuple[str, ...]:
    """Return the nodes that a node's routers lead to after an update by hand in its name.

    Raises:
        StepgraphError: the routers have no answer. A router's own exception becomes a `NodeError`.
    """
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


def _node_config(request: TaskRequest, attempt: int) -> dict[str, Any]:
    """Return LangGraph's config, with the ids of the task. It is a copy, which the node may change."""
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


async def _call(function: Callable[..., Any], node_state: Any, config: dict[str, Any] | None, run_sync: RunSync) -> Any:
    """Call a node or a router, with a config if it takes one."""
    keywords = {} if config is None else {"config": config}
    if is_async(function):
        return await function(node_state, **keywords)
    returned = await run_sync(lambda: _call_sync(function, node_state, keywords))
    return await returned if inspect.isawaitable(returned) else returned


def _call_sync(function: Callable[..., Any], node_state: Any, keywords: dict[str, Any]) -> Any:
    """Call a function; raise `RuntimeError` for a `StopIteration`, which would leave a future pending for ever."""
    try:
        return function(node_state, **keywords)
    except StopIteration as error:
        raise RuntimeError(f"raised StopIteration({error.value!r})") from error


def _updates_in(registry: GraphRegistry, node: str, returned: Any) -> Iterable[Mapping[str, Any]]:
    """Yield the mappings that a node returned: one, or several in a list."""
    for item in returned if isinstance(returned, list | tuple) else [returned]:
        if item is None:
            continue
        update = registry.schema.as_mapping(item)
        if update is None:
            raise InvalidUpdateError(
                f"Node {node!r} returned {type_name(item)}. Return a mapping of the channels it writes "
                f"({', '.join(map(repr, registry.schema.channels.names))}), a list of mappings, or None.",
                nodes=[node],
            )
        yield update


def _encode_update(registry: GraphRegistry, node: str, update: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a node wrote as JSON data; raise `InvalidUpdateError` if a channel cannot take its value."""
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


def _check_write_size(node: str, writes: tuple[dict[str, Any], ...], limit: int) -> None:
    sizes: dict[str, int] = {}
    for write in writes:
        for name, value in write.items():
            sizes[name] = sizes.get(name, 0) + json_size(value)
    check_size(f"What node {node!r} wrote", sizes, limit=limit, nodes=[node])


def _with_own_writes(
    registry: GraphRegistry, request: TaskRequest, state: Mapping[str, Any], writes: Sequence[Mapping[str, Any]]
) -> Values:
    """Return the values that a node's routers see: its siblings' writes are not among them."""
    channels = registry.schema.channels
    values = {**(channels.zeros() if request.node == START else {}), **channels.decode(state)}
    own_writes = [Write(request.node, name, value) for write in writes for name, value in write.items()]
    return channels.fold(values, own_writes, step=request.step)


def _destinations(registry: GraphRegistry, node: str, name: str, router: RegisteredRouter, returned: Any) -> list[str]:
    """Return the nodes that a router returned; raise `InvalidUpdateError` for one that is not its destination."""
    possible = next(
        registry.spec.destinations(branch) for branch in registry.spec.branches_of(node) if branch.name == name
    )
    destinations = []
    for label in returned if isinstance(returned, list | tuple) else [returned]:
        destination = label
        if router.mapping is not None:
            if not _has_label(router.mapping, label):
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
        destinations.append(destination)
    return destinations


def _has_label(mapping: Mapping[Any, str], label: Any) -> bool:
    try:
        return label in mapping
    except TypeError:  # the label is not hashable
        return False
