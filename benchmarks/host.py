"""A peer in a process of its own: ``python -m benchmarks.host PEER ADDRESS FOLDER``.

It reads calls as lines of JSON, ``{"call": "measure", "job": {...}}``, and answers each with a line: what came of it,
or why nothing did.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

from benchmarks.jobs import Job, stamps
from benchmarks.peers import load
from benchmarks.peers.peer import Peer, Unable

EDGE = 500
"""Steps at the beginning and at the end of a long thread that are timed by themselves."""


class Host:
    """A peer, and the job that it is set up for at the moment."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.job: Job | None = None
        self.up = AsyncExitStack()

    async def measure(self, job: dict[str, Any], threads: int = 1) -> dict[str, Any]:
        """The job on so many threads at once: seconds in all, and what one of them stored."""
        wanted = Job(**job)
        if wanted != self.job:
            await self.up.aclose()
            self.job = None
            await self.up.enter_async_context(self.peer.serving(wanted))
            self.job = wanted
        names = [f"{wanted.name}-{uuid4().hex[:12]}" for _ in range(threads)]
        stamps.clear()
        began = time.perf_counter()
        counted = await asyncio.gather(*(self.peer.run(wanted, name) for name in names))
        seconds = time.perf_counter() - began
        if counted != [wanted.steps] * threads:
            raise Unable(f"counted {counted} steps, not {wanted.steps}")
        stored = await self.peer.stored(names[0])
        return {
            "seconds": seconds,
            "steps": wanted.steps * threads,
            **asdict(stored),
            "first": _per_step(stamps[: EDGE + 1]),
            "last": _per_step(stamps[-EDGE - 1 :]),
        }

    async def versions(self) -> dict[str, str]:
        """Of the packages that the peer is."""
        return {name: version(name) for name in self.peer.versions}

    async def answer(self, call: str, given: dict[str, Any]) -> dict[str, Any]:
        """Does a call: one of the host's own, or one that only this peer has."""
        asked = getattr(self, call, None) or getattr(self.peer, call)
        result: dict[str, Any] = await asked(**given)
        return result


def _per_step(times: list[float]) -> float | None:
    return (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else None


async def serve(host: Host, answers: int) -> None:
    """Answers calls until there are no more."""
    loop = asyncio.get_running_loop()
    async with host.up:
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            asked = json.loads(line)
            answer: dict[str, Any]
            try:
                answer = {"result": await host.answer(asked.pop("call"), asked)}
            except Exception as error:  # the others go on; the report says what became of this one
                logging.getLogger(__name__).exception("a call failed")
                why = str(error) if isinstance(error, Unable) else f"{type(error).__name__}: {error}"
                answer = {"error": why.strip().partition("\n")[0][:200]}
            os.write(answers, (json.dumps(answer) + "\n").encode())


def main() -> None:
    """The command."""
    answers = os.dup(1)
    os.dup2(2, 1)  # what a peer prints must not come between the answers
    name, address, folder = sys.argv[1:4]
    logging.basicConfig(level=logging.ERROR)
    peer = load(name)(address, Path(folder))
    asyncio.run(serve(Host(peer), answers))


if __name__ == "__main__":
    main()
