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
        raise server_error(error, client.service_client.config.target_host) from error


def server_error(error: Exception, address: str | None = None) -> ServerError:
    """Return the error for a request that the server refused or did not answer. ``address``: its own, if known."""
    parts = {"address": address} if address is not None else {}
    server = "The Temporal server" + (f" at {address}" if address is not None else "")
    if isinstance(error, RPCError) and error.status not in _UNREACHABLE:
        return ServerError(f"{server} refused a request: {error.message}.", **parts)
    if isinstance(error, WorkflowQueryFailedError):
        return ServerError(f"A worker could not answer a query: {error}. Its log says more.", **parts)
    return ServerError(f"{server} stopped answering: {str(error) or 'no answer in time'}. {KEPT}", **parts)
