"""Reading threads: long ones against short ones, closed ones without a worker, and cold."""

from __future__ import annotations

from typing import Any

from benchmarks.bench import Bench
from benchmarks.figures import Figure, Outcome, Samples, judged
from benchmarks.hosted import hosted
from benchmarks.peers.peer import Unable

SHORT = 10
QUEUE = "read"
STATE = 100_000
"""Bytes of the state that is read of a closed thread."""


async def run(bench: Bench) -> Outcome:
    """Ours alone: of the others on Temporal, none has a history to read."""
    try:
        return Outcome([*await _open(bench), await _closed(bench)])
    except Unable as reason:
        return Outcome([Figure("reading threads", f"failed: {reason}", "works", False)])


async def _open(bench: Bench) -> list[Figure]:
    long = bench.size.thread
    threads: dict[int, str] = {}
    for steps in (SHORT, long):
        async with hosted("ours_reading", bench.address, bench.folder) as writer:
            threads[steps] = (await writer.call("grow", steps=steps, queue=QUEUE))["thread"]
    cold = []
    for _ in range(bench.size.rounds):  # each time a new process, which has nothing at hand
        async with hosted("ours_reading", bench.address, bench.folder) as reader:
            cold.append((await reader.call("cold_history", thread=threads[long], queue=QUEUE))["seconds"])
    rounds: list[dict[int, Any]] = []
    async with hosted("ours_reading", bench.address, bench.folder) as reader:
        for _ in range(bench.size.rounds):
            rounds.append({n: await reader.call("warm_reads", thread=threads[n], queue=QUEUE) for n in threads})
    ratios: dict[str, Samples] = {}
    for read in ("state", "history"):
        short, other = (Samples(tuple(each[n][read] for each in rounds)) for n in (SHORT, long))
        bench.say(f"  {read}: {1000 * short.median:.1f} ms at {SHORT} steps, {1000 * other.median:.1f} at {long:,}")
        ratios[read] = other.over(short)
    of = f"of an open thread of {long:,} steps against {SHORT}"
    restarted = f"`get_state_history(limit=10)` after a worker's restart, {long:,} steps"
    return [
        judged(f"`get_state` {of}", ratios["state"], "at most", 1.5, unit=" x"),
        judged(f"`get_state_history(limit=10)` {of}", ratios["history"], "at most", 1.5, unit=" x"),
        judged(restarted, Samples(tuple(cold)), "at most", 2, unit=" s"),
    ]


async def _closed(bench: Bench) -> Figure:
    async with hosted("ours_reading", bench.address, bench.folder) as reader:
        found = [await reader.call("closed_reads", size=STATE) for _ in range(bench.size.rounds)]
    for each in found:
        bench.say(f"  closed: {1000 * each['state']:.1f} ms, describe {1000 * each['describe']:.1f} ms")
    ratio = Samples(tuple(each["state"] / each["describe"] for each in found))
    return judged(
        "`get_state` of a closed thread, no worker running, against a bare describe", ratio, "at most", 3, unit=" x"
    )
