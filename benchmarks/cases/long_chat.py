"""A chat so long that its state is larger than anything Temporal carries at once."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.cases.chat import MESSAGE
from benchmarks.figures import Figure, Outcome, Samples, judged
from benchmarks.hosted import hosted
from benchmarks.jobs import Job
from benchmarks.peers.peer import Unable

PATIENCE = 1200


async def run(bench: Bench) -> Outcome:
    """Whether it ends, whether its steps slow down, and what it stores, in histories and outside. Ours alone."""
    steps = bench.size.long_chat
    what = f"a chat of {steps:,} messages of 1 KB"
    try:
        async with hosted("ours_stored", bench.address, bench.folder) as peer:
            job = Job("chat", steps, size=MESSAGE)
            work = await peer.call("measure", job=job.to_json(), timeout=PATIENCE)
    except Unable as reason:
        return Outcome([Figure(what, f"no: {reason}", "completes", False)])
    slower, stored = work["last"] / work["first"], (work["bytes"] + work["outside"]) / steps / 1000
    return Outcome(
        [
            Figure(what, f"yes, in {work['seconds']:.0f} s", "completes", True),
            judged("its last 500 steps against its first 500", Samples((slower,)), "at most", 1.3, unit=" x"),
            judged("all bytes it stored, a step", Samples((stored,)), "at most", 20, unit=" KB"),
        ]
    )
