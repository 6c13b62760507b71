"""``durability="async"``: many steps that do nothing, where a crash may cost the last second of work."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.bench import Bench, per_step
from benchmarks.figures import Outcome, compared, judge, samples
from benchmarks.jobs import Job

SLOW = ("floor", "community")
"""They know no other durability than that of `cases.steps`, whose figures say all there is to say of them."""


async def run(bench: Bench) -> Outcome:
    """Wall time and events a step."""
    steps = bench.size.loop
    quicker = replace(bench, peers={name: peer for name, peer in bench.peers.items() if name not in SLOW})
    works = await quicker.rounds(Job("loop", steps, durability="async"), rounds=max(2, bench.size.rounds - 2))
    what = f"{steps} no-op steps, `async`"
    return Outcome(
        [
            judge(
                f"wall time a step, {what}: how much faster than the official plugin",
                lambda: samples("official", works, per_step).over(samples("ours", works, per_step)),
                "at least",
                20,
                unit=" x",
                pattern="{:.1f}",
            ),
            judge(
                "the same, against LangGraph with SqliteSaver",
                lambda: samples("ours", works, per_step).over(samples("sqlite", works, per_step)),
                "at most",
                1.0,
                unit=" x",
            ),
            judge(
                "history events a step, same",
                lambda: samples("ours", works, lambda work: work["events"] / steps),
                "at most",
                0.5,
            ),
        ],
        [
            compared(
                f"Wall time a step: {steps} no-op steps, async",
                "ms",
                works,
                lambda work: 1000 * per_step(work),
                "{:.2f}",
            )
        ],
    )
