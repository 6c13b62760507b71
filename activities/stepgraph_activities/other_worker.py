"""What an activity does whose worker lacks the graph, or has other code of it than the run needs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from temporalio import activity

from stepgraph.errors import ChannelTypeError, MissingNodeError, ReducerError
from stepgraph.execution.registry import GraphRegistry
from stepgraph.protocol.task_request import CodeRequest
from stepgraph.temporal.payloads import failure

OTHER_WORKER_ATTEMPTS = 4
"""Attempts before a run fails because of its workers' code. During a deployment old and new workers poll together."""


def other_worker_delay(attempt: int) -> timedelta | None:
    """Return how long to wait for another worker to take an activity; `None` after the last attempt."""
    return timedelta(seconds=attempt) if attempt < OTHER_WORKER_ATTEMPTS else None


def missing_graph(graphs: Mapping[str, GraphRegistry], request: CodeRequest, node: str) -> MissingNodeError:
    """Return the error for a worker that polls a task queue of a graph without having that graph."""
    return MissingNodeError(
        f"This worker polls task queue {activity.info().task_queue!r} but has no graph {request.graph!r}; "
        f"it has {', '.join(map(repr, sorted(graphs)))}. Give it that graph, then resume.",
        graph=request.graph,
        node=node,
        run_spec=request.spec_hash,
        worker_spec=None,
    )


def registry_of(graphs: Mapping[str, GraphRegistry], request: CodeRequest, *, attempt: int) -> GraphRegistry:
    """Return the graph of a request. Without it, fail the attempt: another worker may have it."""
    registry = graphs.get(request.graph)
    if registry is None:
        error = missing_graph(graphs, request, "")
        raise failure(
            error.message,
            error.to_wire(),
            type=type(error).__name__,
            non_retryable=other_worker_delay(attempt) is None,
            next_retry_delay=other_worker_delay(attempt),
        )
    return registry


def leave_to_another_worker(error: Mapping[str, Any], attempt: int) -> None:
    """Fail the attempt if the code of another worker may do what this one's cannot. ``error`` is in its wire form."""
    is_of_code = error["type"] in (ChannelTypeError.__name__, MissingNodeError.__name__)
    lacks_reducer = error["type"] == ReducerError.__name__ and error["parts"].get("missing")
    delay = other_worker_delay(attempt)
    if delay is not None and (is_of_code or lacks_reducer):
        raise failure(error["message"], error, type=error["type"], non_retryable=False, next_retry_delay=delay)
