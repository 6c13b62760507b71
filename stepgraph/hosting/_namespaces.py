"""Checks that a client's namespace exists, and registers it on the embedded server."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from stepgraph.errors import NoServerError
from stepgraph.temporal.rpc import retried

CHECK_TIMEOUT = timedelta(seconds=2)
RETENTION = timedelta(days=7)
"""How long a namespace that is registered here keeps closed threads."""


async def require_namespace(client: Client, address: str) -> None:
    """Raise `NoServerError` if the server at the address does not have the client's namespace."""
    if not await _has_namespace(client):
        raise NoServerError(
            f"The Temporal server at {address} has no namespace {client.namespace!r}. Make it with "
            f"`temporal operator namespace create --namespace {client.namespace}`, or correct TEMPORAL_NAMESPACE.",
            address=address,
            namespace=client.namespace,
        )


async def ensure_namespace(client: Client, address: str) -> None:
    """Register the client's namespace on the embedded server at the address, if the server does not have it.

    Raises:
        NoServerError: the server refuses the name.
    """
    if await _has_namespace(client):
        return
    try:
        await _register_namespace(client)
    except RPCError as error:
        raise NoServerError(
            f"The embedded Temporal server cannot have the namespace {client.namespace!r}, which TEMPORAL_NAMESPACE "
            f"names: {error}. Choose another.",
            address=address,
        ) from error


async def _has_namespace(client: Client) -> bool:
    """Return whether the server has the client's namespace. If the server forbids the check, assumes that it has."""
    try:
        request = DescribeNamespaceRequest(namespace=client.namespace)
        await retried(lambda: client.workflow_service.describe_namespace(request, timeout=CHECK_TIMEOUT))
    except RPCError as error:
        return error.status not in (RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT)
    return True


async def _register_namespace(client: Client) -> None:
    """Register the client's namespace, and waits until every part of the server has read it."""
    request = RegisterNamespaceRequest(namespace=client.namespace)
    request.workflow_execution_retention_period.FromTimedelta(RETENTION)
    try:
        await client.workflow_service.register_namespace(request)
    except RPCError as error:
        if error.status is not RPCStatusCode.ALREADY_EXISTS:
            raise
    for pause in (*[0.25] * 60, None):
        try:
            await client.count_workflows()
            return
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND or pause is None:
                raise
            await asyncio.sleep(pause)
