"""One task of a graph that another library runs: hands it to the graph's `TaskCode`, and records what comes back.

The counterpart of `stepgraph.execution.run_node` and `stepgraph.execution.routing` for such a graph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from stepgraph.engine.checkpoint import SentTask, TaskResult
from stepgraph.engine.constants import START
from stepgraph.engine.folding import Entry, Write, writes_of
from stepgraph.errors import ReducerError
from stepgraph.execution.call_function import RunSync
from stepgraph.execution.custom_folds import changes_by
from stepgraph.execution.node_output import check_write_size, encode_update
from stepgraph.execution.node_timeout import AttemptTimer
from stepgraph.execution.run_code import RunCode
from stepgraph.execution.sent_input import decode_input, encode_sends
from stepgraph.execution.task_code import CodeTask, TaskCode
from stepgraph.execution.task_context import task_context
from stepgraph.protocol.task_request import TaskRequest
from stepgraph.serde.plain_json import json_size


async def run_task_code(
    task_code: TaskCode,
    code: RunCode,
    request: TaskRequest,
    state: Mapping[str, Any],
    *,
    run_sync: RunSync,
    attempt: int,
    limit: int,
) -> TaskResult:
    """Run a task, and return what it wrote and where it leads, or its interrupt. The arguments are `run_task`'s."""
    is_start = request.node == START
    if not is_start:
        code.node(request.node)  # raises if it is missing
    policy = code.registry.nodes[request.node].timeout_policy if not is_start else None
    async with AttemptTimer(policy, request.node) as timer:
        task = _code_task(code, request, state, run_sync=run_sync, attempt=attempt, timer=timer)
        output = await task_code.run(task)
    if output.interrupt is not None:
        return TaskResult(interrupt=output.interrupt)
    schema, stamps = code.registry.schema, code.recorded_stamps(request.stamps)
    if is_start:  # it writes the input, as it was encoded
        writes: tuple[dict[str, Any], ...] = (dict(request.input or {}),)
    else:
        writes = tuple(encode_update(schema, request.node, update) for update in output.writes)
    sends = encode_sends(schema, code.spec.node_names, f"Node {request.node!r}", list(output.sends))
    check_write_size(request.node, writes, limit, sends=sends)
    proves = stamps is not None and not is_start and not request.sent
    written = {*(state if proves else ()), *(name for write in writes for name in write)}
    result = TaskResult(
        writes=writes,
        goto=output.goto,
        sends=sends,
        stamps=code.own_stamps(written, request.stamps),
        proved=proves,
    )
    return await _with_changes(code, request, state, result, run_sync=run_sync, limit=limit)


async def route_task_code(
    task_code: TaskCode,
    code: RunCode,
    request: TaskRequest,
    state: Mapping[str, Any],
    writes: Sequence[Write],
    *,
    run_sync: RunSync,
    attempt: int,
) -> tuple[tuple[str, ...], tuple[SentTask, ...]]:
    """Return the nodes that a node leads to which wrote this, and what it sends, without running it."""
    update = {write.channel: code.channels[write.channel].decode_write(write.value) for write in writes}
    task = _code_task(code, request, state, run_sync=run_sync, attempt=attempt)
    output = await task_code.route(task, update)
    sends = encode_sends(code.registry.schema, code.spec.node_names, f"Node {request.node!r}", list(output.sends))
    return output.goto, sends


def _code_task(
    code: RunCode,
    request: TaskRequest,
    state: Mapping[str, Any],
    *,
    run_sync: RunSync,
    attempt: int,
    timer: AttemptTimer | None = None,
) -> CodeTask:
    channels, input = code.channels, None
    values = channels.zero_values() | channels.decode(state, code.recorded_stamps(request.stamps))
    if request.sent:
        input = decode_input(code.registry.schema, request.node, request.input)
    elif request.node == START:
        input = {name: channels[name].decode_write(value) for name, value in (request.input or {}).items()}
    context = task_context(code, request, attempt, timer)
    return CodeTask(request, code.spec, input, values, context.config, context.runtime, run_sync)


async def _with_changes(
    code: RunCode,
    request: TaskRequest,
    state: Mapping[str, Any],
    result: TaskResult,
    *,
    run_sync: RunSync,
    limit: int,
) -> TaskResult:
    """Return the result with what its writes make of channels with a custom fold.

    Without it, if a fold fails: the run has them folded again at the commit, and reports the error there.
    """
    if not code.spec.custom_channels:
        return result
    writes = list(writes_of([Entry("", request.node, result)]))
    fold = partial(changes_by, code, state, writes, stamps=request.stamps, step=request.step)
    try:
        changes = await run_sync(fold)
    except ReducerError:
        return result
    if json_size(changes) + json_size(result.writes) > limit:
        return result
    return result.model_copy(update={"changes": changes})
