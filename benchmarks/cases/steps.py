"""The case ``steps``: one thread of sequential no-op nodes, where each step is durable before the next one starts."""

from __future__ import annotations

from benchmarks.bench import Bench, seconds_per_step
from benchmarks.jobs import Job
from benchmarks.measurements import CaseResult, compare_peers, samples_of, try_check_bound


async def run(bench: Bench) -> CaseResult:
    """Measures wall time and history events per step."""
    steps = bench.workload.chain_steps
    # More rounds than other cases: the bounds are close to 1, and a round is short.
    results = await bench.measure_rounds(Job("chain", steps), rounds=2 * bench.workload.rounds - 1)
    job = f"{steps} sequential no-op nodes, `sync`"
    return CaseResult(
        [
            try_check_bound(
                f"wall time per step, {job}, against the floor",
                lambda: samples_of("ours", results, seconds_per_step).over(
                    samples_of("floor", results, seconds_per_step)
                ),
                "at most",
                1.05,
                unit=" x",
                headline=f"wall time of a step, {steps} no-op nodes, against a hand-written workflow",
            ),
            try_check_bound(
                f"wall time per step, {job}, against the official plugin",
                lambda: samples_of("ours", results, seconds_per_step).over(
                    samples_of("official", results, seconds_per_step)
                ),
                "at most",
                1.0,
                unit=" x",
                pattern="{:.3f}",
            ),
            try_check_bound(
                f"history events per step, {job}",
                lambda: samples_of("ours", results, lambda result: result["events"] / steps),
                "at most",
                6.3,
            ),
        ],
        [
            compare_peers(
                f"Wall time per step: {steps} sequential no-op nodes",
                "ms",
                results,
                lambda result: 1000 * seconds_per_step(result),
            )
        ],
    )
