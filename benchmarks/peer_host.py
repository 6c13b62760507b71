"""The process of one peer: ``python -m benchmarks.peer_host PEER ADDRESS FOLDER``.

It reads calls from stdin, one line of JSON each, ``{"call": "measure", "job": {...}}``, and writes one line of JSON per
call to stdout: ``{"result": {...}}``, or ``{"error": "why it failed"}``. `benchmarks.peer_process` is the other side.
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

from benchmarks.jobs import Job, step_start_times
from benchmarks.peers import load
from benchmarks.peers.peer import Peer, PeerError

EDGE_STEPS = 500
"""How many steps at the beginning and at the end of a long thread are timed separately."""
MAX_ERROR_CHARACTERS = 200


class PeerHost:
    """A peer, and the job that it serves at the moment. Consecutive calls with the same job reuse its worker."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.job: Job | None = None
        self.resources = AsyncExitStack()

    async def measure(self, job: dict[str, Any], threads: int = 1) -> dict[str, Any]:
        """Runs a job on several threads at once, and measures it.

        Args:
            job: the job of each thread, as `Job.to_json` returns it.
            threads: how many threads run at once.

        Returns:
            The seconds and the steps of all threads, the storage that one thread uses, and the seconds per step of this
            process's first and last `EDGE_STEPS` steps (`None` if its nodes ran fewer than two).
        """
        new_job = Job(**job)
        if new_job != self.job:
            await self.resources.aclose()
            self.job = None
            await self.resources.enter_async_context(self.peer.serving(new_job))
            self.job = new_job
        thread_ids = [f"{new_job.name}-{uuid4().hex[:12]}" for _ in range(threads)]
        step_start_times.clear()
        start = time.perf_counter()
        counts = await asyncio.gather(*(self.peer.run(new_job, thread_id) for thread_id in thread_ids))
        seconds = time.perf_counter() - start
        if counts != [new_job.steps] * threads:
            raise PeerError(f"the threads counted {counts} steps, expected {new_job.steps} each")
        storage = await self.peer.storage_use(thread_ids[0])
        return {
            "seconds": seconds,
            "steps": new_job.steps * threads,
            **asdict(storage),
            "first_seconds_per_step": _seconds_per_step(step_start_times[: EDGE_STEPS + 1]),
            "last_seconds_per_step": _seconds_per_step(step_start_times[-EDGE_STEPS - 1 :]),
        }

    async def versions(self) -> dict[str, str]:
        """Returns the version of each package that the peer uses."""
        return {name: version(name) for name in self.peer.packages}

    async def execute(self, call: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Executes a call: a method of this class, or one that only this peer has."""
        method = getattr(self, call, None) or getattr(self.peer, call)
        result: dict[str, Any] = await method(**arguments)
        return result


def _seconds_per_step(start_times: list[float]) -> float | None:
    return (start_times[-1] - start_times[0]) / (len(start_times) - 1) if len(start_times) > 1 else None


async def serve(host: PeerHost, responses: int) -> None:
    """Executes calls until stdin is closed, and writes each response to the file descriptor ``responses``."""
    loop = asyncio.get_running_loop()
    async with host.resources:
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            request = json.loads(line)
            response: dict[str, Any]
            try:
                response = {"result": await host.execute(request.pop("call"), request)}
            except Exception as error:  # reported to the caller, so that the other peers can go on
                logging.getLogger(__name__).exception("a call failed")
                message = str(error) if isinstance(error, PeerError) else f"{type(error).__name__}: {error}"
                response = {"error": message.strip().partition("\n")[0][:MAX_ERROR_CHARACTERS]}
            os.write(responses, (json.dumps(response) + "\n").encode())


def main() -> None:
    """Serves one peer until stdin is closed."""
    responses = os.dup(1)
    os.dup2(2, 1)  # what a peer prints must not be read as a response
    name, address, folder = sys.argv[1:4]
    logging.basicConfig(level=logging.ERROR)
    peer = load(name)(address, Path(folder))
    asyncio.run(serve(PeerHost(peer), responses))


if __name__ == "__main__":
    main()
