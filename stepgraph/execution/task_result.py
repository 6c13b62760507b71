"""The result of a task, as it is recorded: what it wrote, where it leads, and under which types.

The same for nodes that are functions and for those that a `TaskCode` runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from stepgraph.engine.changes import Change, Written, without_write
from stepgraph.engine.checkpoint import TaskResult
from stepgraph.engine.constants import START
from stepgraph.engine.folding import Entry, Write, writes_of
from stepgraph.execution.call_function import RunSync
from stepgraph.execution.custom_folds import changes_by
from stepgraph.execution.node_output import check_write_size, encode_update
from stepgraph.execution.run_code import RunCode
from stepgraph.execution.sent_input import encode_sends
from stepgraph.execution.task_code import TaskOutput
from stepgraph.protocol.task_request import TaskRequest
from stepgraph.serde.plain_json import json_size


def result_of(
    code: RunCode,
    request: TaskRequest,
    state: Mapping[str, Any],
    output: TaskOutput,
    *,
    nodes: tuple[str, ...],
    limit: int,
) -> TaskResult:
    """Return a task's output as JSON data. The start node writes the input, as it was encoded.

    Args:
        code: the graph's code, for the run that the task belongs to.
        request: the task.
        state: the values at the task's checkpoint, as JSON data.
        output: what came of the task.
        nodes: the nodes to which it may send.
        limit: the largest size of the writes, in bytes of JSON.

    Raises:
        InvalidUpdateError: a channel cannot take its value, or there is no node to which something is sent.
        PayloadTooLargeError: the writes are larger than ``limit``.
    """
    schema, is_start = code.registry.schema, request.node == START
    if is_start:
        writes: tuple[dict[str, Any], ...] = (dict(request.input or {}),)
    else:
        writes = tuple(encode_update(schema, request.node, update) for update in output.writes)
    sends = encode_sends(schema, nodes, f"Node {request.node!r}", list(output.sends))
    check_write_size(request.node, writes, limit, sends=sends)
    proves = code.recorded_stamps(request.stamps) is not None and not is_start and not request.sent
    names = {*(state if proves else ()), *(name for write in writes for name in write)}
    return TaskResult(
        writes=writes, goto=output.goto, sends=sends, stamps=code.own_stamps(names, request.stamps), proved=proves
    )


async def with_changes(
    code: RunCode,
    request: TaskRequest,
    state: Mapping[str, Any],
    result: TaskResult,
    *,
    run_sync: RunSync,
    limit: int,
) -> tuple[TaskResult, Mapping[str, Change]]:
    """Return a task's result with what its writes make of channels with a custom fold, and these changes.

    The result has no changes if they would make it larger than ``limit``: they are made again at the commit.

    Raises:
        ReducerError: a fold failed.
    """
    if not code.spec.custom_channels:
        return result, {}
    writes = writes_in(request.node, result)
    changes = await run_sync(partial(changes_by, code, state, writes, stamps=request.stamps, step=request.step))
    stored = {name: _stored(name, change, writes) for name, change in changes.items()}
    if json_size(stored) + json_size(result.writes) <= limit:
        result = result.model_copy(update={"changes": stored})
    return result, changes


def writes_in(node: str, result: TaskResult) -> list[Write]:
    """Return the writes of one task, in order."""
    return list(writes_of([Entry("", node, result)]))


def _stored(channel: str, change: Change, writes: Sequence[Write]) -> Change | Written:
    """Return a change of a channel as it is stored beside the writes that made it."""
    own = [write.value for write in writes if write.channel == channel]
    return without_write(change, own[0]) if len(own) == 1 else change
