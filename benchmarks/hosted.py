"""A hosted peer, from the side of whoever measures it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks.peers.peer import Unable

LINE = 2**20
"""Bytes that an answer may have."""
ENDING_SECONDS = 15


class Hosted:
    """A peer in a process of its own, which starts with the first call, and anew after it died."""

    def __init__(self, name: str, address: str, folder: Path) -> None:
        self.name = name
        self._command = [sys.executable, "-m", "benchmarks.host", name, address, str(folder)]
        self._log = folder / "log"
        self._process: asyncio.subprocess.Process | None = None

    async def call(self, call: str, *, timeout: float = 600, **given: Any) -> dict[str, Any]:
        """What came of a call. `Unable` with the reason if nothing did."""
        process = self._process = self._process or await self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write((json.dumps({"call": call, **given}) + "\n").encode())
        try:
            line = await asyncio.wait_for(process.stdout.readline(), timeout)
        except TimeoutError:
            await self._kill(process)
            raise Unable(f"did not end within {timeout:.0f} s") from None
        if not line:
            await self._kill(process)
            raise Unable(self._last_words())
        answer = json.loads(line)
        if "error" in answer:
            raise Unable(answer["error"])
        result: dict[str, Any] = answer["result"]
        return result

    async def end(self) -> None:
        """Lets the process end, if there is one."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), ENDING_SECONDS)
        except TimeoutError:
            await self._kill(process)

    async def _started(self) -> asyncio.subprocess.Process:
        with self._log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *self._command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log, limit=LINE
            )

    async def _kill(self, process: asyncio.subprocess.Process) -> None:
        self._process = None
        if process.returncode is None:
            process.kill()
        await process.wait()

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        said = lines[-1] if lines else "nothing"
        return "is not installed" if said.startswith("ModuleNotFoundError") else f"its process died: {said[:200]}"


@asynccontextmanager
async def hosted(name: str, address: str, folder: Path) -> AsyncIterator[Hosted]:
    """A peer that ends with the block; its log and whatever it keeps are in a folder of its own."""
    place = folder / name
    place.mkdir(exist_ok=True)
    peer = Hosted(name, address, place)
    try:
        yield peer
    finally:
        await peer.end()
