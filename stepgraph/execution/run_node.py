"""One task: calls a node's function and its routers, and turns what they return into a `TaskResult`.

Owns what user code takes and may return. Knows nothing of Temporal, timeouts and retries: activities and the in-memory
runner both call `run_task`, and pass in how a function that is not async runs off the event loop.
"""

from __future__ import annotations

import copy
import inspect
from collections import ChainMap
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from stepgraph.engine.changes import NOTHING, Change, Written, without_write
from stepgraph.engine.checkpoint import TaskResult
from stepgraph.engine.constants import START
from stepgraph.engine.folding import Entry, Write, writes_of
from stepgraph.errors import InvalidUpdateError, ReducerError, suggest
from stepgraph.execution.channels import Values
from stepgraph.execution.custom_folds import changes_by, fold_writes
from stepgraph.execution.node_config import node_config
from stepgraph.execution.registry import GraphRegistry, RegisteredRouter, is_async
from stepgraph.execution.run_code import RunCode
from stepgraph.execution.scratchpad import GraphInterrupt, Scratchpad, current_scratchpad
from stepgraph.execution.state_schema import StateSchema
from stepgraph.protocol.task_request import TaskRequest
from stepgraph.serde.error_text import type_name
from stepgraph.serde.json_values import JsonValues
from stepgraph.serde.plain_json import json_size
from stepgraph.serde.sizes import MAX_DEPTH, PAYLOAD_LIMIT, check_size, is_too_deep

RunSync = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Runs a function that is not async, off the event loop."""


async def run_task(
    code: RunCode,
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
        code: the graph's code, for the run that the task belongs to.
        request: the task.
        state: the values at the task's checkpoint, as JSON data.
        run_sync: runs a function that is not async, off the event loop.
        attempt: the number of the attempt, which the node finds in its config.
        limit: the largest size of the writes, in bytes of JSON.

    Raises:
        ChannelTypeError: a recorded value does not come back unchanged under the type that the code declares.
        MissingNodeError: the code lacks the node, or one of its routers.
        InvalidUpdateError: the node returned values that its channels cannot take, or a router an unknown destination.
        PayloadTooLargeError: the writes are larger than ``limit``.
        Exception: whatever the node or a router raises.
    """
    config = node_config(code.spec, request, attempt)
    schema, stamps = code.registry.schema, code.recorded_stamps(request.stamps)
    if request.node == START:
        writes: tuple[dict[str, Any], ...] = (dict(request.input or {}),)
    else:
        node = code.node(request.node)
        for router in code.routers_of(request.node):  # before the node has had effects
            code.router(request.node, router)
        node_state = copy.deepcopy(request.input)
        if not request.sent:
            node_state = schema.node_state(schema.channels.zero_values() | schema.channels.decode(state, stamps))
        token = current_scratchpad.set(Scratchpad(request.idempotency_key, request.answers))
        try:
            returned = await _call(node.function, node_state, config if node.takes_config else None, run_sync)
        except GraphInterrupt as interrupted:
            return TaskResult(interrupt=interrupted.request)
        finally:
            current_scratchpad.reset(token)
        writes = tuple(
            _encode_update(schema, request.node, update) for update in _updates_in(schema, request.node, returned)
        )
    check_write_size(request.node, writes, limit)
    proves = stamps is not None and request.node != START and not request.sent
    names = {*(state if proves else ()), *(name for write in writes for name in write)}
    result = TaskResult(writes=writes, stamps=code.own_stamps(names, request.stamps), proved=proves)
    return await complete(code, request, state, result, run_sync=run_sync, attempt=attempt, limit=limit)


async def complete(
    code: RunCode,
    request: TaskRequest,
    state: Mapping[str, Any],
    result: TaskResult,
    *,
    run_sync: RunSync,
    attempt: int = 1,
    limit: int = PAYLOAD_LIMIT,
    strict: bool = False,
) -> TaskResult:
    """Return a task's result with the changes of channels with a custom fold, and with what its routers chose.

    If a reducer fails, the result has neither: the run has them made again at the commit, and reports the error there.
    With ``strict``, the `ReducerError` is raised. Otherwise raises like `run_task`.
    """
    writes = writes_in(request.node, result)
    changes: Mapping[str, Change] = {}
    if code.spec.custom_channels:
        fold = partial(changes_by, code, state, writes, stamps=request.stamps, step=request.step)
        try:
            changes = await run_sync(fold)
        except ReducerError:
            if strict:
                raise
            return result.model_copy(update={"unrouted": bool(code.routers_of(request.node))})
        stored = {name: _stored(name, change, writes) for name, change in changes.items()}
        if json_size(stored) + json_size(result.writes) <= limit:  # otherwise they are made again at the commit
            result = result.model_copy(update={"changes": stored})
    try:
        goto = await route(code, request, state, writes, changes, run_sync=run_sync, attempt=attempt)
    except ReducerError:  # of a built-in fold
        if strict:
            raise
        return result.model_copy(update={"unrouted": True})
    return result.model_copy(update={"goto": goto})


async def route(
    code: RunCode,
    request: TaskRequest,
    state: Mapping[str, Any],
    writes: Sequence[Write],
    changes: Mapping[str, Change],
    *,
    run_sync: RunSync,
    attempt: int = 1,
) -> tuple[str, ...]:
    """Call the node's routers with the state plus the node's own writes; return the nodes that they lead to.

    ``changes`` are what the writes make of channels with a custom fold. Raises like `run_task`.
    """
    goto: list[str] = []
    routers = code.routers_of(request.node)
    if not routers:
        return ()
    schema, stamps = code.registry.schema, code.recorded_stamps(request.stamps)
    changed = _after_own_writes(code, request, state, writes, changes)
    config = node_config(code.spec, request, attempt)
    for name in routers:
        router = code.router(request.node, name)
        known: dict[str, str] | None = None if stamps is None else {}
        changed_values = schema.channels.decode(_present(changed), known)  # its parts may be of several types
        values = schema.channels.decode(_except(state, changed), stamps) | changed_values
        node_state = schema.node_state(schema.channels.zero_values() | values)
        returned = await _call(router.function, node_state, config if router.takes_config else None, run_sync)
        goto += _destinations(code.registry, request.node, name, router, returned)
    return tuple(goto)


def _stored(channel: str, change: Change, writes: Sequence[Write]) -> Change | Written:
    """Return a change of a channel as it is stored beside the writes that made it."""
    own = [write.value for write in writes if write.channel == channel]
    return without_write(change, own[0]) if len(own) == 1 else change


def writes_in(node: str, result: TaskResult) -> list[Write]:
    """Return the writes of one task, in order."""
    return list(writes_of([Entry("", node, result)]))


async def _call(function: Callable[..., Any], node_state: Any, config: dict[str, Any] | None, run_sync: RunSync) -> Any:
    """Call a node or a router, with a config if it takes one."""
    keywords = {} if config is None else {"config": config}
    if is_async(function):
        return await function(node_state, **keywords)
    returned = await run_sync(lambda: _call_sync(function, node_state, keywords))
    return await returned if inspect.isawaitable(returned) else returned


def _call_sync(function: Callable[..., Any], node_state: Any, keywords: dict[str, Any]) -> Any:
    """Call a function; raise `RuntimeError` for exceptions that Python gives a meaning of their own.

    A `StopIteration` would leave a future pending for ever, a `GeneratorExit` would close the coroutines that await it.
    """
    try:
        return function(node_state, **keywords)
    except (StopIteration, GeneratorExit) as error:
        raise RuntimeError(f"raised {error!r}") from error


def _updates_in(schema: StateSchema, node: str, returned: Any) -> Iterable[Mapping[str, Any]]:
    """Yield the mappings that a node returned: one, or several in a list."""
    for item in returned if isinstance(returned, list | tuple) else [returned]:
        if item is None:
            continue
        update = schema.as_mapping(item)
        if update is None:
            raise InvalidUpdateError(
                f"Node {node!r} returned {type_name(item)}. Return a mapping of the channels it writes "
                f"({', '.join(map(repr, schema.channels.names))}), a list of mappings, or None.",
                nodes=[node],
            )
        yield update


def _encode_update(schema: StateSchema, node: str, update: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a node wrote as JSON data; raise `InvalidUpdateError` if a channel cannot take its value."""
    channels = schema.channels
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
            if is_too_deep(encoded[name]):
                raise InvalidUpdateError(
                    f"Channel {name!r} would nest lists and mappings deeper than {MAX_DEPTH} levels. Make the value "
                    "flatter, or keep it elsewhere and put its address into the state.",
                    channel=name,
                )
        except InvalidUpdateError as error:
            error.message = f"Node {node!r}: {error.message}"
            error.parts["nodes"] = [node]
            raise
    return encoded


def check_write_size(node: str, writes: Sequence[Mapping[str, Any]], limit: int) -> None:
    """Raise `PayloadTooLargeError` if what a node wrote is larger than ``limit`` bytes of JSON."""
    sizes: dict[str, int] = {}
    for write in writes:
        for name, value in write.items():
            sizes[name] = sizes.get(name, 0) + json_size(value)
    check_size(f"What node {node!r} wrote", sizes, limit=limit, nodes=[node])


def _after_own_writes(
    code: RunCode,
    request: TaskRequest,
    state: Mapping[str, Any],
    writes: Sequence[Write],
    changes: Mapping[str, Change],
) -> Values:
    """Return the values that a node's own writes make, as JSON data. A new thread also has its empty values."""
    zeros = code.channels.zeros() if request.node == START else {}
    before: Values = ChainMap(state, zeros)  # type: ignore[arg-type]  # nothing is written to it
    not_custom = [write for write in writes if write.channel not in changes]
    changed = {name: zero for name, zero in zeros.items() if name not in state}
    changed |= fold_writes(code, before, not_custom, stamps=request.stamps, step=request.step)
    changed |= {name: change.apply(before.get(name, NOTHING)) for name, change in changes.items()}
    return changed


def _present(changed: Values) -> Values:
    return {name: value for name, value in changed.items() if value is not NOTHING}


def _except(state: Mapping[str, Any], changed: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the values that did not change, in the form in which they came."""
    if isinstance(state, JsonValues):
        return JsonValues({name: text for name, text in state.texts.items() if name not in changed})
    return {name: value for name, value in state.items() if name not in changed}


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
