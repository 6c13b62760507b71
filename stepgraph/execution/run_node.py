"""One task: calls a node's function and its routers, and turns what they return into a `TaskResult`.

Knows nothing of Temporal, timeouts and retries: activities and the in-memory runner both call `run_task`, and pass in
how a function that is not async runs off the event loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stepgraph.engine.checkpoint import TaskResult
from stepgraph.engine.constants import START
from stepgraph.errors import ReducerError
from stepgraph.execution.call_function import RunSync, call_function
from stepgraph.execution.langgraph_interrupts import interrupt_from_langgraph
from stepgraph.execution.node_output import check_write_size, output_of
from stepgraph.execution.node_tasks import GuardedTasks
from stepgraph.execution.node_timeout import AttemptTimer
from stepgraph.execution.routing import route
from stepgraph.execution.run_code import RunCode
from stepgraph.execution.run_task_code import run_task_code
from stepgraph.execution.scratchpad import GraphInterrupt, Scratchpad, current_scratchpad
from stepgraph.execution.sent_input import decode_input
from stepgraph.execution.task_code import TaskOutput
from stepgraph.execution.task_context import task_context
from stepgraph.execution.task_result import result_of, with_changes, writes_in
from stepgraph.protocol.task_request import TaskRequest
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
    task_code = code.registry.task_code
    nodes = code.registry.spec.node_names if task_code is None else code.spec.node_names
    with GuardedTasks():
        if task_code is None:
            output = await _run_function(code, request, state, run_sync=run_sync, attempt=attempt)
        else:
            output = await run_task_code(task_code, code, request, state, run_sync=run_sync, attempt=attempt)
    if output.interrupt is not None:
        return TaskResult(interrupt=output.interrupt)
    result = result_of(code, request, state, output, nodes=nodes, limit=limit)
    if task_code is None:
        return await complete(code, request, state, result, run_sync=run_sync, attempt=attempt, limit=limit)
    try:  # its routers have been asked
        return (await with_changes(code, request, state, result, run_sync=run_sync, limit=limit))[0]
    except ReducerError:  # the run has the writes folded again at the commit, and reports the error there
        return result


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
    try:
        result, changes = await with_changes(code, request, state, result, run_sync=run_sync, limit=limit)
    except ReducerError:
        if strict:
            raise
        return result.model_copy(update={"unrouted": bool(code.routers_of(request.node))})
    writes = writes_in(request.node, result)
    try:
        goto, sends = await route(code, request, state, writes, changes, run_sync=run_sync, attempt=attempt)
    except ReducerError:  # of a built-in fold
        if strict:
            raise
        return result.model_copy(update={"unrouted": True})
    if sends:
        check_write_size(request.node, result.writes, limit, sends=(*result.sends, *sends))
    return result.model_copy(update={"goto": (*result.goto, *goto), "sends": (*result.sends, *sends)})


async def _run_function(
    code: RunCode, request: TaskRequest, state: Mapping[str, Any], *, run_sync: RunSync, attempt: int
) -> TaskOutput:
    """Call a node's function, and return its output, or its interrupt. The start node has no function."""
    if request.node == START:
        return TaskOutput()
    schema, node = code.registry.schema, code.node(request.node)
    for router in code.routers_of(request.node):  # before the node has had effects
        code.router(request.node, router)
    if request.sent:
        node_state = decode_input(schema, request.node, request.input)
    else:
        values = schema.channels.zero_values() | schema.channels.decode(state, code.recorded_stamps(request.stamps))
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
        return TaskOutput(interrupt=interrupted.request)
    finally:
        current_scratchpad.reset(token)
    output = output_of(schema, code.registry.spec.node_names, request.node, returned)
    return replace(output, writes=(*context.pushed, *output.writes))
