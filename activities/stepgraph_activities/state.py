"""Where a task's state comes from: its input, this process's cache, or a query to the workflow."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Protocol

from temporalio import activity
from temporalio.client import WorkflowQueryFailedError
from temporalio.common import RawValue
from temporalio.service import RPCError

from stepgraph.codec import json_size
from stepgraph.payloads import from_raw, to_raw
from stepgraph.statecache import states
from stepgraph.wire import GET_VALUES, Pages, StateRequest

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
    at_hand = states.get(request.checkpoint_id)
    if at_hand is not None:
        return at_hand
    handle = activity.client().get_workflow_handle(request.thread_id, run_id=request.run_id)
    pages = Pages()
    while pages.wanted is not None:
        asked = StateRequest(checkpoint_id=request.checkpoint_id, page=pages.wanted)
        try:
            answer = await handle.query(
                GET_VALUES, to_raw(asked.to_json()), result_type=RawValue, rpc_timeout=QUERY_TIMEOUT
            )
        except (RPCError, WorkflowQueryFailedError) as error:
            raise StateUnavailableError(
                f"The state at checkpoint {request.checkpoint_id} could not be read: {error}"
            ) from error
        pages.take(from_raw(answer))
    if not isinstance(pages.answer, dict) or "error" in pages.answer:
        raise StateUnavailableError(
            f"The state at checkpoint {request.checkpoint_id} could not be read: {pages.answer}"
        )
    found: dict[str, Any] = pages.answer["values"]
    states.put(request.checkpoint_id, found, json_size(found))
    return found
