"""A chat: what its growing state costs on disk."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.figures import Outcome, compared, judge, samples
from benchmarks.jobs import Job

MESSAGE = 1024


async def run(bench: Bench) -> Outcome:
    """Bytes a step. Once each: bytes do not vary."""
    steps = bench.size.chat
    works = await bench.rounds(Job("chat", steps, size=MESSAGE), rounds=1, warm_up=False)
    what = f"a chat of {steps} messages of 1 KB"
    return Outcome(
        [
            judge(
                f"history bytes a step, {what}",
                lambda: samples("ours", works, lambda work: work["bytes"] / steps / 1000),
                "at most",
                2.5,
                unit=" KB",
            )
        ],
        [
            compared(f"Bytes stored a step: {what}", "KB", works, lambda work: work["bytes"] / steps / 1000),
        ],
    )
