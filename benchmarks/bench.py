"""`Bench`: one run of the benchmarks, in which the peers take turns at a job."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.jobs import Job
from benchmarks.measurements import PeerResults
from benchmarks.peer_process import PeerProcess
from benchmarks.peers.peer import PeerError


@dataclass(frozen=True)
class Workload:
    """How much work each benchmark case does."""

    chain_steps: int = 50
    crowd_threads: int = 100
    crowd_steps: int = 10
    loop_steps: int = 500
    chat_messages: int = 200
    long_chat_messages: int = 5000
    agent_turns: int = 300
    read_steps: int = 2000
    """Steps of the long thread that the case ``reads`` reads."""
    fan_nodes: int = 3000
    """Nodes of the large super-step of the case ``fan``; the small one has a tenth of them."""
    idle_threads: int = 500
    rounds: int = 5
    """Measured rounds, without the warm-up round. A case may derive its own number from it."""


FULL = Workload()
QUICK = Workload(
    chain_steps=20,
    crowd_threads=30,
    loop_steps=200,
    chat_messages=60,
    long_chat_messages=1200,
    agent_turns=60,
    read_steps=501,
    fan_nodes=1000,
    idle_threads=100,
    rounds=2,
)


@dataclass
class Bench:
    """One run of the benchmarks.

    Args:
        address: the address of the Temporal server.
        folder: the folder for databases and logs.
        peers: the peers to compare, by name.
        workload: how much work each case does.
        log: receives a line of progress.
    """

    address: str
    folder: Path
    peers: dict[str, PeerProcess]
    workload: Workload
    log: Callable[[str], None]

    async def measure_rounds(
        self, job: Job, *, threads: int = 1, rounds: int, warm_up: bool = True
    ) -> dict[str, PeerResults]:
        """Measures a job: in each round every peer runs it once, in turn. A peer that fails is left out from then on.

        Args:
            job: the job of each thread.
            threads: how many threads run at once.
            rounds: how many rounds are measured.
            warm_up: whether a first round that is not measured goes before them.

        Returns:
            For each peer the result of each measured round, or why it failed.
        """
        results: dict[str, Any] = {name: [] for name in self.peers}
        for number in range(0 if warm_up else 1, rounds + 1):
            for name, peer in self.peers.items():
                if isinstance(results[name], str):
                    continue
                try:
                    result = await peer.call("measure", job=job.to_json(), threads=threads)
                except PeerError as error:
                    results[name] = str(error)
                    self.log(f"  {job.name}, {name}: {error}")
                    continue
                if number:
                    results[name].append(result)
                    self.log(f"  {job.name}, {name}, round {number}: {1000 * seconds_per_step(result):.2f} ms per step")
        return results


def seconds_per_step(result: dict[str, Any]) -> float:
    """Returns the wall time per step of one result of `PeerHost.measure`, over all threads."""
    return float(result["seconds"]) / int(result["steps"])
