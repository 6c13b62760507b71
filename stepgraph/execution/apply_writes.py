"""Applies writes with the graph's code, where the run alone cannot: the work of ``<graph>.apply_writes``.

An error of a reducer, a router or a value is an answer, not an exception: the run keeps what was written, reports the
error, and can have the same applied again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from stepgraph.engine.checkpoint import TaskResult
from stepgraph.errors import NodeError, PayloadTooLargeError, StepgraphError
from stepgraph.execution.call_function import RunSync
from stepgraph.execution.cancellation import is_cancellation
from stepgraph.execution.custom_folds import changes_by, changes_together
from stepgraph.execution.routing import route
from stepgraph.execution.run_code import RunCode
from stepgraph.execution.run_node import complete
from stepgraph.execution.task_result import writes_in
from stepgraph.protocol.apply_writes_request import (
    ApplyWritesRequest,
    ApplyWritesResult,
    AuthorWrites,
)
from stepgraph.protocol.task_request import TaskRequest
from stepgraph.serde.error_text import first_line
from stepgraph.serde.plain_json import json_size
from stepgraph.serde.sizes import PAYLOAD_LIMIT


async def apply_writes(
    code: RunCode,
    request: ApplyWritesRequest,
    authors: Sequence[AuthorWrites],
    state: Mapping[str, Any],
    *,
    run_sync: RunSync,
    limit: int = PAYLOAD_LIMIT,
) -> ApplyWritesResult:
    """Fold writes and ask routers; return what they make, or the error.

    Args:
        code: the graph's code, for the run.
        request: what is asked.
        authors: the writes of the super-step, in order.
        state: the values before it, as JSON data.
        run_sync: runs a function that is not async, off the event loop.
        limit: the largest size of the result, in bytes of JSON.
    """
    try:
        result = await _apply(code, request, authors, state, run_sync=run_sync, limit=limit)
    except StepgraphError as error:
        return ApplyWritesResult(error=error.to_wire())
    if (size := json_size(result)) > limit:
        names = ", ".join(map(repr, request.channels)) or "the update"
        too_large = PayloadTooLargeError(
            f"The reducers of {names} make a change of {size:,} bytes, and Temporal carries {limit:,}. Set "
            "STEPGRAPH_STORAGE on every worker and client, or keep large values elsewhere.",
            channel=next(iter(request.channels), None),
            size=size,
            limit=limit,
        )
        return ApplyWritesResult(error=too_large.to_wire())
    return result


async def _apply(
    code: RunCode,
    request: ApplyWritesRequest,
    authors: Sequence[AuthorWrites],
    state: Mapping[str, Any],
    *,
    run_sync: RunSync,
    limit: int,
) -> ApplyWritesResult:
    authors = [_coerced(code, author) if author.coerce else author for author in authors]
    entries = [author.entry for author in authors]
    fold = partial(changes_together, code, request.channels, state, entries, stamps=request.stamps, step=request.step)
    changes = await run_sync(fold) if request.channels else {}
    results: dict[str, TaskResult] = {}
    for author in authors:
        if author.complete or author.coerce or author.route:
            results[author.key] = await _completed(code, request, author, state, run_sync=run_sync, limit=limit)
    return ApplyWritesResult(results=results, changes=changes, stamps=code.own_stamps(changes, request.stamps))


async def _completed(
    code: RunCode,
    request: ApplyWritesRequest,
    author: AuthorWrites,
    state: Mapping[str, Any],
    *,
    run_sync: RunSync,
    limit: int,
) -> TaskResult:
    """Return an author's result with what its own writes make of channels with a custom fold, and its destinations."""
    shared = {name: value for name, value in dict(request).items() if name not in ("authors", "channels")}
    task = TaskRequest(**shared, node=author.node, task_id=author.key)
    result = author.result.model_copy(update={"unrouted": False})
    own = [*(result.channels if author.coerce else ()), *(code.spec.custom_channels if author.complete else ())]
    names = [name for name in own if name in result.channels]  # of the others, the caller's code says the types
    result = result.model_copy(update={"stamps": {**result.stamps, **code.own_stamps(names, request.stamps)}})
    writes = writes_in(author.node, result)
    try:
        if author.complete:
            return await complete(code, task, state, result, run_sync=run_sync, limit=limit, strict=True)
        if not author.route:
            return result
        fold = partial(changes_by, code, state, writes, stamps=request.stamps, step=request.step)
        goto, sends = await route(code, task, state, writes, await run_sync(fold), run_sync=run_sync)
        return result.model_copy(update={"goto": (*result.goto, *goto), "sends": (*result.sends, *sends)})
    except StepgraphError:
        raise
    except BaseException as error:  # a router must not end its worker
        if is_cancellation(error):
            raise
        raise NodeError(
            f"A router of node {author.node!r} failed: {type(error).__name__}: {first_line(error)}.",
            graph=request.graph,
            node=author.node,
            thread_id=request.thread_id,
            error_type=f"{type(error).__module__}:{type(error).__qualname__}",
        ) from error


def _coerced(code: RunCode, author: AuthorWrites) -> AuthorWrites:
    """Return writes by hand, coerced to the types of the state. Raises `InvalidInputError` if they do not fit."""
    registry = code.registry
    writes = tuple(
        registry.schema.check_input(registry.name, write, exact=author.exact) for write in author.result.writes
    )
    return author.model_copy(update={"result": author.result.model_copy(update={"writes": writes})})
