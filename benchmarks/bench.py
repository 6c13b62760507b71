"""`Bench`: the peers that take part, and their taking turns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.figures import Works
from benchmarks.hosted import Hosted
from benchmarks.jobs import Job
from benchmarks.peers.peer import Unable


@dataclass(frozen=True)
class Size:
    """How much work a run is."""

    chain: int = 50
    crowd: int = 100
    crowd_steps: int = 10
    loop: int = 500
    chat: int = 200
    long_chat: int = 5000
    thread: int = 2000
    idle: int = 500
    rounds: int = 5


FULL = Size()
QUICK = Size(chain=20, crowd=30, loop=200, chat=60, long_chat=1200, thread=501, idle=100, rounds=2)


@dataclass
class Bench:
    """A run of the benchmarks.

    Args:
        address: the Temporal server's.
        folder: for databases and logs.
        peers: those that take part.
        size: how much work.
        say: told what is going on.
    """

    address: str
    folder: Path
    peers: dict[str, Hosted]
    size: Size
    say: Callable[[str], None]
    versions: dict[str, str] = field(default_factory=dict)

    async def rounds(self, job: Job, *, threads: int = 1, rounds: int, warm_up: bool = True) -> dict[str, Works]:
        """The job by each peer in turn, round after round; a first round that warms up is not counted.

        A peer that fails once takes no further part in this.
        """
        works: dict[str, Any] = {name: [] for name in self.peers}
        for number in range(0 if warm_up else 1, rounds + 1):
            for name, peer in self.peers.items():
                if isinstance(works[name], str):
                    continue
                try:
                    work = await peer.call("measure", job=job.to_json(), threads=threads)
                except Unable as reason:
                    works[name] = str(reason)
                    self.say(f"  {job.name}, {name}: {reason}")
                    continue
                if number:
                    works[name].append(work)
                    self.say(f"  {job.name}, {name}, round {number}: {1000 * per_step(work):.2f} ms a step")
        return works


def per_step(work: dict[str, Any]) -> float:
    """Seconds a step."""
    return float(work["seconds"]) / int(work["steps"])
