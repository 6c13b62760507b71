"""One task: calls a node's function and its routers, and turns what they return into a `TaskResult`.

Knows nothing of Temporal, timeouts and retries: activities and the in-memory runner both call `run_task`, and pass in
how a function that is not async runs off the event loop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from stepgraph.engine.changes import Change, Written, without_write
from stepgraph.engine.checkpoint import TaskResult
from stepgraph.engine.constants import START
from stepgraph.engine.folding import Entry, Write, writes_of
from stepgraph.errors import ReducerError
from stepgraph.execution.call_function import RunSync, call_function
from stepgraph.execution.custom_folds import changes_by
from stepgraph.execution.langgraph_interrupts import interrupt_from_langgraph
from stepgraph.execution.node_output import NodeOutput, check_write_size, encode_update, output_of
from stepgraph.execution.node_timeout import AttemptTimer
from stepgraph.execution.routing import route
from stepgraph.execution.run_code import RunCode
from stepgraph.execution.run_task_code import run_task_code
from stepgraph.execution.scratchpad import GraphInterrupt, Scratchpad, current_scratchpad
from stepgraph.execution.sent_input import decode_input, encode_sends
from stepgraph.execution.task_context import task_context
from stepgraph.protocol.task_request import TaskRequest
from stepgraph.serde.plain_json import json_size
from stepgraph.serde.sizes import PAYLOAD_LIMIT


async def run_task(
    code: RunCode,
    request: TaskRequest,
    state: Mapping[str, Any],
    *,
    run_sync: RunSync,
    attempt: int = 1,
    limit: int = PAYLOAD_LIMIT,
) -> TaskResult:
    """Run a task, and return its writes and the nodes that its commands and routers lead to, or its interrupt.

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
    if (task_code := code.registry.task_code) is not None:
        return await run_task_code(task_code, code, request, state, run_sync=run_sync, attempt=attempt, limit=limit)
    schema, stamps = code.registry.schema, code.recorded_stamps(request.stamps)
    nodes, output = code.registry.spec.node_names, NodeOutput()
    if request.node == START:
        writes: tuple[dict[str, Any], ...] = (dict(request.input or {}),)
    else:
        node = code.node(request.node)
        for router in code.routers_of(request.node):  # before the node has had effects
            code.router(request.node, router)
        if request.sent:
            node_state = decode_input(schema, request.node, request.input)
        else:
            values = schema.channels.zero_values() | schema.channels.decode(state, stamps)
            node_state = schema.node_state(values, node.input_schema)
        scratchpad = Scratchpad(request.idempotency_key, request.answers)
        token = current_scratchpad.set(scratchpad)
        try:
            async with AttemptTimer(node.timeout_policy, request.node) as timer:
                context = task_context(code, request, attempt, timer)
                returned = await call_function(node.function, node.parameters, node_state, context, run_sync)
        except Exception as error:
            interrupted = error if isinstance(error, GraphInterrupt) else interrupt_from_langgraph(error, scratchpad)
            if interrupted is None:
                raise
            return TaskResult(interrupt=interrupted.request)
        finally:
            current_scratchpad.reset(token)
        output = output_of(schema, nodes, request.node, returned)
        updates = (*context.pushed, *output.updates)
        writes = tuple(encode_update(schema, request.node, update) for update in updates)
    sends = encode_sends(schema, nodes, f"Node {request.node!r}", output.sends)
    check_write_size(request.node, writes, limit, sends=sends)
    proves = stamps is not None and request.node != START and not request.sent
    names = {*(state if proves else ()), *(name for write in writes for name in write)}
    stamps_of_writes = code.own_stamps(names, request.stamps)
    result = TaskResult(writes=writes, goto=tuple(output.goto), sends=sends, stamps=stamps_of_writes, proved=proves)
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
        goto, sends = await route(code, request, state, writes, changes, run_sync=run_sync, attempt=attempt)
    except ReducerError:  # of a built-in fold
        if strict:
            raise
        return result.model_copy(update={"unrouted": True})
    if sends:
        check_write_size(request.node, result.writes, limit, sends=(*result.sends, *sends))
    return result.model_copy(update={"goto": (*result.goto, *goto), "sends": (*result.sends, *sends)})


def _stored(channel: str, change: Change, writes: Sequence[Write]) -> Change | Written:
    """Return a change of a channel as it is stored beside the writes that made it."""
    own = [write.value for write in writes if write.channel == channel]
    return without_write(change, own[0]) if len(own) == 1 else change


def writes_in(node: str, result: TaskResult) -> list[Write]:
    """Return the writes of one task, in order."""
    return list(writes_of([Entry("", node, result)]))
