"""Where a task's state comes from: its input, this process's cache, or queries to the workflow.

Each way falls back to the next, and the last one, the whole state in pages, needs nothing but a workflow that answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Protocol

from pydantic import ValidationError
from temporalio import activity
from temporalio.client import WorkflowQueryFailedError
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from stepgraph.engine.difference import Difference
from stepgraph.errors import StorageError
from stepgraph.execution.state_cache import Kept, states
from stepgraph.protocol.names import GET_VALUES
from stepgraph.protocol.paging import Pages
from stepgraph.protocol.queries import ValuesRequest
from stepgraph.serde.json_values import JsonValues
from stepgraph.temporal.payloads import from_raw, to_raw

QUERY_TIMEOUT = timedelta(seconds=20)


class StateUnavailableError(Exception):
    """The workflow did not answer; another attempt may have better luck."""


class AboutState(Protocol):
    """A request that needs the values at a checkpoint."""

    @property
    def state(self) -> dict[str, Any] | None:
        """The values, if they are small."""

    @property
    def checkpoint_id(self) -> str:
        """Where they are the values."""

    @property
    def thread_id(self) -> str:
        """The thread."""

    @property
    def run_id(self) -> str:
        """The run that can tell them."""


async def state_of(request: AboutState) -> Mapping[str, Any]:
    """The values at the request's checkpoint, as JSON data. `StateUnavailableError` if nobody can tell them now."""
    if request.state is not None:
        return request.state
    kept = states.get(request.run_id)
    if kept is not None and kept.checkpoint_id == request.checkpoint_id:
        return kept.values
    values = await _since(request, kept) if kept is not None else None
    if values is None:
        values = JsonValues.of((await _ask(request, since=None))["values"])
    states.put(request.run_id, request.checkpoint_id, values)
    return values


async def _since(request: AboutState, kept: Kept) -> JsonValues | None:
    """The values, from a state at hand and what tells them from it; `None` if that is not to be had."""
    answer = await _ask(request, since=kept.checkpoint_id)
    if "values" in answer:  # the workflow does not know that state
        return JsonValues.of(answer["values"])
    try:
        return Difference.model_validate(answer["difference"]).apply(kept.values)
    except (ValidationError, LookupError):  # the run's worker has another version
        return None


async def _ask(request: AboutState, *, since: str | None) -> dict[str, Any]:
    handle = activity.client().get_workflow_handle(request.thread_id, run_id=request.run_id)
    pages = Pages()
    while pages.wanted is not None:
        asked = ValuesRequest(checkpoint_id=request.checkpoint_id, since=since, page=pages.wanted)
        try:
            answer = await handle.query(
                GET_VALUES, to_raw(asked.to_json()), result_type=RawValue, rpc_timeout=QUERY_TIMEOUT
            )
        except (RPCError, WorkflowQueryFailedError, StorageError) as error:
            if isinstance(error, ApplicationError):  # the answer is gone from storage, for good
                raise
            raise StateUnavailableError(
                f"The state at checkpoint {request.checkpoint_id} could not be read: {error}"
            ) from error
        pages.take(from_raw(answer))
    if not isinstance(pages.answer, dict) or "error" in pages.answer:
        raise StateUnavailableError(
            f"The state at checkpoint {request.checkpoint_id} could not be read: {pages.answer}"
        )
    return pages.answer
