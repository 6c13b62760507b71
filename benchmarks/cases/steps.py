"""A thread of sequential nodes that do nothing, each step durable before the next one starts."""

from __future__ import annotations

from benchmarks.bench import Bench, per_step
from benchmarks.figures import Outcome, compared, judge, samples
from benchmarks.jobs import Job


async def run(bench: Bench) -> Outcome:
    """Wall time and events a step."""
    steps = bench.size.chain
    works = await bench.rounds(Job("chain", steps), rounds=2 * bench.size.rounds - 1)
    what = f"{steps} no-op nodes in a row, `sync`"
    return Outcome(
        [
            judge(
                f"wall time a step, {what}, against the floor",
                lambda: samples("ours", works, per_step).over(samples("floor", works, per_step)),
                "at most",
                1.10,
                unit=" x",
            ),
            judge(
                "the same, against the official plugin",
                lambda: samples("ours", works, per_step).over(samples("official", works, per_step)),
                "at most",
                1.0,
                unit=" x",
                pattern="{:.3f}",
            ),
            judge(
                "history events a step, same",
                lambda: samples("ours", works, lambda work: work["events"] / steps),
                "at most",
                6.3,
            ),
        ],
        [compared(f"Wall time a step: {steps} no-op nodes in a row", "ms", works, lambda work: 1000 * per_step(work))],
    )
