"""Finds the address of a server's Web UI, which Temporal's API does not report."""

from __future__ import annotations

from http.client import HTTPConnection, HTTPException

from stepgraph.temporal.daemon_executor import off_loop
from stepgraph.temporal.settings import text_setting

DEFAULT_SERVER_PORT = 7233
DEV_SERVER_OFFSET = 1000
"""The development server has its Web UI on its own port plus this."""

COMPOSE_WEB_UI_PORT = 8080
"""Compose files publish the Web UI here, for a server on its default port."""


async def find_web_ui(host: str, port: int | None) -> str | None:
    """Return the address of the Web UI: as configured, of Temporal Cloud, or found on this machine. None if unknown.

    Args:
        host: the server's host.
        port: the server's port; None if its address has none.
    """
    configured = text_setting("STEPGRAPH_WEB_UI")
    if configured:
        return configured.rstrip("/")
    if host.endswith((".tmprl.cloud", ".api.temporal.io")):
        return "https://cloud.temporal.io"
    if host in ("localhost", "127.0.0.1", "::1") and port is not None:
        candidates = [port + DEV_SERVER_OFFSET, *([COMPOSE_WEB_UI_PORT] if port == DEFAULT_SERVER_PORT else [])]
        for candidate in candidates:
            if await off_loop(_is_web_ui, candidate):
                return f"http://localhost:{candidate}"
    return None


def _is_web_ui(port: int) -> bool:
    """Return whether Temporal's Web UI answers on a port of this machine."""
    connection = HTTPConnection("localhost", port, timeout=0.5)
    try:
        connection.request("GET", "/api/v1/settings")
        return b"DefaultNamespace" in connection.getresponse().read(10_000)
    except (OSError, OverflowError, HTTPException):
        return False
    finally:
        connection.close()
