"""Starts the process of a peer (`benchmarks.peer_host`) and calls it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks.peers.peer import PeerError

MAX_RESPONSE_BYTES = 2**20
MAX_LOG_CHARACTERS = 200
END_SECONDS = 15
"""How long a process may take to end before it is killed."""


class PeerProcess:
    """A peer in a process of its own. The first call starts the process; a call after it died starts another one."""

    def __init__(self, name: str, address: str, folder: Path) -> None:
        self.name = name
        self._command = [sys.executable, "-m", "benchmarks.peer_host", name, address, str(folder)]
        self._log = folder / "log"
        self._process: asyncio.subprocess.Process | None = None

    async def call(self, call: str, *, timeout: float = 600, **arguments: Any) -> dict[str, Any]:
        """Calls a method of the peer or its host, and returns the result.

        Raises:
            PeerError: the call failed or exceeded ``timeout`` seconds, or the process died.
        """
        process = self._process = self._process or await self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write((json.dumps({"call": call, **arguments}) + "\n").encode())
        try:
            line = await asyncio.wait_for(process.stdout.readline(), timeout)
        except TimeoutError:
            await self._kill(process)
            raise PeerError(f"did not finish within {timeout:.0f} s") from None
        if not line:
            await self._kill(process)
            raise PeerError(self._reason_of_death())
        response = json.loads(line)
        if "error" in response:
            raise PeerError(response["error"])
        result: dict[str, Any] = response["result"]
        return result

    async def end(self) -> None:
        """Ends the process, if it is running: closes its stdin, and kills it if it does not end in time."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), END_SECONDS)
        except TimeoutError:
            await self._kill(process)

    async def _start(self) -> asyncio.subprocess.Process:
        with self._log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                limit=MAX_RESPONSE_BYTES,
            )

    async def _kill(self, process: asyncio.subprocess.Process) -> None:
        self._process = None
        if process.returncode is None:
            process.kill()
        await process.wait()

    def _reason_of_death(self) -> str:
        """Returns why the process died, from the last line of its log."""
        lines = self._log.read_text(errors="replace").strip().splitlines()
        last_line = lines[-1] if lines else "its log is empty"
        if last_line.startswith("ModuleNotFoundError"):
            return "not installed"
        return f"its process died: {last_line[:MAX_LOG_CHARACTERS]}"


@asynccontextmanager
async def peer_process(name: str, address: str, folder: Path) -> AsyncIterator[PeerProcess]:
    """Yields a peer whose process ends with the context. Its log and its files go to ``folder/name``."""
    peer_folder = folder / name
    peer_folder.mkdir(exist_ok=True)
    peer = PeerProcess(name, address, peer_folder)
    try:
        yield peer
    finally:
        await peer.end()
