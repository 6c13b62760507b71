"""Gets the values that the graph's code reads: from the request, from this process's cache, or by a query.

Each source is tried when the one before it does not have the values. The last one, a query for the whole state, works
whenever a worker answers for the workflow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Protocol

from pydantic import ValidationError
from temporalio import activity
from temporalio.client import WorkflowQueryFailedError
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError, FailureError
from temporalio.service import RPCError

from stepgraph.engine.changes import Difference
from stepgraph.engine.spec import GraphSpec
from stepgraph.errors import ServerError, StorageError
from stepgraph.execution.registry import GraphRegistry
from stepgraph.protocol.apply_writes_request import ApplyWritesRequest, AuthorWrites, PendingWrites
from stepgraph.protocol.names import GET_SPEC, GET_VALUES, GET_WRITES
from stepgraph.protocol.queries import Query, StateRequest, ValuesRequest
from stepgraph.serde.json_values import JsonValues
from stepgraph.temporal.payloads import failure, to_raw
from stepgraph.temporal.query_pages import query_all_pages
from stepgraph.temporal.state_cache import CachedState, process_cache

QUERY_TIMEOUT = timedelta(seconds=20)
"""How long the query for one page may take."""

UNAVAILABLE_PAUSE = timedelta(seconds=1)
"""The pause before another attempt at an activity whose state could not be read."""

MAX_SPECS = 100
"""How many specs of other deployments a process keeps."""

_specs: dict[str, GraphSpec] = {}
"""Specs that runs have recorded under other code, by hash."""


class StateUnavailableError(Exception):
    """No source has the values now. Another attempt of the activity may succeed."""

    def as_failure(self) -> FailureError:
        """Return what an activity raises so that another attempt is made."""
        return failure(str(self), type=type(self).__name__, non_retryable=False, next_retry_delay=UNAVAILABLE_PAUSE)


class StateReference(Protocol):
    """A request that names the checkpoint whose values it needs."""

    @property
    def state(self) -> dict[str, Any] | None:
        """The values as JSON data; `None` if they are too large for an activity's input."""

    @property
    def checkpoint_id(self) -> str:
        """The checkpoint."""

    @property
    def spec_hash(self) -> str:
        """The hash of the run's spec."""

    @property
    def thread_id(self) -> str:
        """The checkpoint's thread."""

    @property
    def run_id(self) -> str:
        """The run that made the request and has the checkpoint."""


async def load_state(request: StateReference) -> Mapping[str, Any]:
    """Return the values at the request's checkpoint, as JSON data.

    If the cache has another state of the run, only the difference is queried.

    Raises:
        StateUnavailableError: the workflow did not answer.
    """
    if request.state is not None:
        return request.state
    cached = process_cache.get(request.run_id)
    if cached is not None and cached.checkpoint_id == request.checkpoint_id:
        return cached.values
    values = await _query_difference(request, cached) if cached is not None else None
    if values is None:
        values = JsonValues.of((await _query_values(request, since=None))["values"])
    process_cache.put(request.run_id, request.checkpoint_id, values)
    return values


async def _query_difference(request: StateReference, cached: CachedState) -> JsonValues | None:
    """Return the values, made from a cached state and the difference to it; `None` if it cannot be applied."""
    answer = await _query_values(request, since=cached.checkpoint_id)
    if "values" in answer:  # the workflow does not have the cached checkpoint, so it sent everything
        return JsonValues.of(answer["values"])
    try:
        return Difference.model_validate(answer["difference"]).apply(cached.values)
    except (ValidationError, LookupError):  # the workflow's worker has another version of stepgraph
        return None


async def load_spec(graph: GraphRegistry, request: StateReference) -> GraphSpec:
    """Return the spec that the request's run has recorded. The run is queried only if the code here has another one.

    Raises:
        StateUnavailableError: the run did not answer.
    """
    if request.spec_hash == graph.spec.hash:
        return graph.spec
    if request.spec_hash not in _specs:
        spec = GraphSpec.model_validate(await _query(request, GET_SPEC, lambda page: Query(**page)))
        if len(_specs) >= MAX_SPECS:
            _specs.clear()
        _specs[request.spec_hash] = spec
    return _specs[request.spec_hash]


async def load_writes(request: ApplyWritesRequest) -> tuple[AuthorWrites, ...]:
    """Return what the tasks at the head of the request's run wrote. `StateUnavailableError` if it does not answer."""
    answer = await _query(request, GET_WRITES, lambda page: StateRequest(**page))
    return PendingWrites.model_validate(answer).authors


async def _query_values(request: StateReference, *, since: str | None) -> dict[str, Any]:
    """Query the workflow for all values or, with ``since``, for what differs from that checkpoint's values."""
    return await _query(
        request, GET_VALUES, lambda page: ValuesRequest(checkpoint_id=request.checkpoint_id, since=since, **page)
    )


async def _query(request: StateReference, query: str, argument: Callable[[dict[str, Any]], Query]) -> dict[str, Any]:
    """Query the workflow of a request; ``argument`` makes the query's argument for a page."""
    handle = activity.client().get_workflow_handle(request.thread_id, run_id=request.run_id)

    async def query_page(page: dict[str, Any]) -> RawValue:
        response: RawValue = await handle.query(
            query, to_raw(argument(page)), result_type=RawValue, rpc_timeout=QUERY_TIMEOUT
        )
        return response

    try:
        answer = await query_all_pages(query_page)
    except (RPCError, WorkflowQueryFailedError, ServerError, StorageError) as error:
        if isinstance(error, ApplicationError):  # external storage has lost the answer: no attempt can succeed
            raise
        raise _state_unavailable(request, error) from error
    if not isinstance(answer, dict) or "error" in answer:
        raise _state_unavailable(request, answer)
    return answer


def _state_unavailable(request: StateReference, reason: object) -> StateUnavailableError:
    return StateUnavailableError(f"The state at checkpoint {request.checkpoint_id} could not be read: {reason}")
