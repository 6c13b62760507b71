"""Errors of the server, told in stepgraph's words: which server, which call, what is kept, and how to go on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from temporalio.client import Client, RPCTimeoutOrCancelledError, WorkflowQueryFailedError
from temporalio.service import RPCError, RPCStatusCode

from stepgraph.errors import ServerError, StepgraphError
from stepgraph.temporal.rpc import is_cancelled

_UNREACHABLE = (RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED)

KEPT = (
    "What the thread has done is kept, and its workers go on once the server is back; invoke(None, config) joins the "
    "open run then. Whether this call was carried out is not known: read the state before you send an update again."
)


@contextmanager
def server_errors(client: Client) -> Iterator[None]:
    """Turn the errors of requests to the server into a `ServerError`, and those of a cancelled task into its cancel.

    Raises:
        ServerError: the server, or a worker, does not answer, or refuses the request.
        asyncio.CancelledError: the task is being cancelled, which the SDK reports as an error of its own.
    """
    try:
        yield
    except (RPCError, RPCTimeoutOrCancelledError, WorkflowQueryFailedError) as error:
        if isinstance(error, StepgraphError):  # of a node that raised one of these
            raise
        if is_cancelled():
            raise asyncio.CancelledError from None
        address = client.service_client.config.target_host
        if isinstance(error, RPCError) and error.status not in _UNREACHABLE:
            message = f"The Temporal server at {address} refused a request: {error.message}."
        elif isinstance(error, WorkflowQueryFailedError):
            message = f"A worker could not answer a query: {error}. Its log says more."
        else:
            reason = str(error) or "no answer in time"
            message = f"The Temporal server at {address} stopped answering: {reason}. {KEPT}"
        raise ServerError(message, address=address) from error
