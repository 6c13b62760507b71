"""One run of chaos: stories are told while workers and the server are killed; then everything is settled and judged."""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chaos.ledger import LEDGER, notes
from tests.chaos.processes import Processes
from tests.chaos.shapes import HEARTBEAT
from tests.chaos.stories import Teller
from tests.chaos.verdict import Verdict, judge


@dataclass(frozen=True)
class Plan:
    """How long, how much and how often."""

    seconds: float = 300
    """How long processes are killed."""
    workers: int = 3
    clients: int = 6
    """How many stories are told at once."""
    burners: int = 2
    """Processes that burn the time of the cores."""
    kill_every: float = 6
    """Seconds between two kills, on average."""
    server_share: float = 0.15
    """How many of the kills hit the server."""
    settle_seconds: float = 180
    """How long the threads may take to finish once nothing is killed any more. The others are stuck."""
    heartbeat_timeout: float | None = None
    """Of all nodes, in seconds; `None` for the default."""
    continue_as_new_steps: int = 7
    """Super-steps after which a run continues as new: few, so that it happens often."""
    seed: int = 0


async def run(plan: Plan, say: Callable[[str], None]) -> tuple[dict[str, object], Verdict]:
    """Run a plan. Return all figures, and the verdict."""
    random.seed(plan.seed)
    with tempfile.TemporaryDirectory(prefix="stepgraph-chaos-") as folder, pytest.MonkeyPatch.context() as patch:
        ledger = Path(folder) / "ledger"
        patch.setenv(LEDGER, str(ledger))
        ledger.touch()
        env = {
            LEDGER: str(ledger),
            HEARTBEAT: str(plan.heartbeat_timeout or ""),
            "STEPGRAPH_CONTINUE_AS_NEW_STEPS": str(plan.continue_as_new_steps),
            "STEPGRAPH_FUSED_SECONDS": "2",
        }
        processes = Processes(Path(folder), env, workers=plan.workers, burners=plan.burners)
        try:
            client = await processes.start()
            say(f"server {processes.address}, {plan.workers} workers, {plan.clients} clients, {plan.burners} burners")
            stopping = asyncio.Event()
            teller = Teller(client, stopping)
            telling = [asyncio.create_task(teller.tell_until_stopped()) for _ in range(plan.clients)]
            await _kill_for(plan, processes, say, teller)
            stopping.set()
            say("no more kills: the threads settle")
            begun = time.monotonic()
            await asyncio.wait(telling, timeout=plan.settle_seconds)
            settled = time.monotonic() - begun
            for task in telling:
                task.cancel()
            for outcome in await asyncio.gather(*telling, return_exceptions=True):
                if isinstance(outcome, Exception):
                    raise outcome
            say(f"settled after {settled:.0f} s; {len(teller.stories)} threads are read")
            verdict = await judge(client, teller.stories, notes(ledger), processes.logs())
            figures: dict[str, object] = {
                "threads": len(teller.stories),
                "kills of workers": processes.kills["worker"],
                "kills of the server": processes.kills["server"],
                **verdict.figures(),
                "settled within": f"{settled:.0f} s",
                "load average": f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores",
            }
            return figures, verdict
        finally:
            processes.end()


async def _kill_for(plan: Plan, processes: Processes, say: Callable[[str], None], teller: Teller) -> None:
    """Kill at random moments, for as long as the plan says. The first kill of a server comes soon."""
    end = time.monotonic() + plan.seconds
    kills = 0
    while (left := end - time.monotonic()) > 0:
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), min(left, random.uniform(0.2, 1.8) * plan.kill_every))
        if time.monotonic() >= end and kills > 1:
            return
        kills += 1
        if kills == 2 or (kills > 2 and random.random() < plan.server_share):
            await processes.kill_server()
        else:
            processes.kill_worker()
        if kills % 10 == 0:
            finished = sum(story.finished for story in teller.stories)
            say(f"{kills} kills, {finished} of {len(teller.stories)} threads have finished")
