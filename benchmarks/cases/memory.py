"""What threads that wait for people cost the worker that has them at hand."""

from __future__ import annotations

import asyncio

from benchmarks.bench import Bench
from benchmarks.figures import Figure, Outcome, Samples, judged
from benchmarks.hosted import hosted
from benchmarks.peers.peer import Unable

STATE = 100_000
SETTLING_SECONDS = 2


async def run(bench: Bench) -> Outcome:
    """Ours alone. Their state was written by a node, or came in with the input, which the SDK keeps."""
    figures = []
    for how in ("written by a node", "given as input"):
        measure = f"memory of a worker with {bench.size.idle} idle threads of 100 KB, {how}"
        try:
            figures.append(judged(measure, await _memory(bench, how), "at most", 400, unit=" MB", pattern="{:.0f}"))
        except Unable as reason:
            figures.append(Figure(measure, f"failed: {reason}", "at most 400 MB", False))
    return Outcome(figures)


async def _memory(bench: Bench, how: str) -> Samples:
    queue = "idle-" + how.split()[0]
    async with (
        hosted("ours_reading", bench.address, bench.folder) as worker,
        hosted("ours_reading", bench.address, bench.folder) as client,
    ):
        before = (await worker.call("stand_by", queue=queue))["bytes"]
        await client.call(
            "ask_many", threads=bench.size.idle, size=STATE, queue=queue, written=how == "written by a node"
        )
        await asyncio.sleep(SETTLING_SECONDS)
        after = (await worker.call("memory"))["bytes"]
    bench.say(f"  {how}: {before / 1e6:.0f} MB before, {after / 1e6:.0f} MB after")
    return Samples((after / 1e6,))
