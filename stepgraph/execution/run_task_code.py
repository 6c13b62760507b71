"""One task of a graph that another library runs: hands it to the graph's `TaskCode`, with decoded values.

The counterpart, for such a graph, of the call of a function in `stepgraph.execution.run_node`, and of
`stepgraph.execution.routing`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stepgraph.engine.checkpoint import SentTask
from stepgraph.engine.constants import START
from stepgraph.engine.folding import Write
from stepgraph.execution.call_function import RunSync
from stepgraph.execution.node_timeout import AttemptTimer
from stepgraph.execution.run_code import RunCode
from stepgraph.execution.sent_input import decode_input, encode_sends
from stepgraph.execution.task_code import CodeTask, TaskCode, TaskOutput
from stepgraph.execution.task_context import task_context
from stepgraph.protocol.task_request import TaskRequest


async def run_task_code(
    task_code: TaskCode,
    code: RunCode,
    request: TaskRequest,
    state: Mapping[str, Any],
    *,
    run_sync: RunSync,
    attempt: int,
) -> TaskOutput:
    """Run a task, and return its output, or its interrupt. The arguments are those of `run_task`."""
    is_start = request.node == START
    if not is_start:
        code.node(request.node)  # raises if it is missing
    policy = code.registry.nodes[request.node].timeout_policy if not is_start else None
    async with AttemptTimer(policy, request.node) as timer:
        task = _code_task(code, request, state, run_sync=run_sync, attempt=attempt, timer=timer)
        return await task_code.run(task)


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
