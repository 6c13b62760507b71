"""Many threads at once: what a worker gets through when it never waits."""

from __future__ import annotations

from benchmarks.bench import Bench, per_step
from benchmarks.figures import Outcome, compared, judge, samples
from benchmarks.jobs import Job


async def run(bench: Bench) -> Outcome:
    """Steps a second, all threads together."""
    threads, steps = bench.size.crowd, bench.size.crowd_steps
    works = await bench.rounds(Job("chain", steps), threads=threads, rounds=max(2, bench.size.rounds - 2))
    what = f"{threads} threads x {steps} steps at once"
    return Outcome(
        [
            judge(
                f"steps a second, {what}, against the floor",
                lambda: samples("floor", works, per_step).over(samples("ours", works, per_step)),
                "at least",
                0.9,
                unit=" x",
            )
        ],
        [compared(f"Steps a second: {what}", "steps/s", works, lambda work: 1 / per_step(work), "{:.0f}")],
    )
