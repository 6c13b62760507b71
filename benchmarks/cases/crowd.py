"""The case ``crowd``: many threads at once, which shows the throughput of a worker that is never idle."""

from __future__ import annotations

from benchmarks.bench import Bench, seconds_per_step
from benchmarks.jobs import Job
from benchmarks.measurements import CaseResult, compare_peers, samples_of, try_check_bound


async def run(bench: Bench) -> CaseResult:
    """Measures steps per second over all threads."""
    threads, steps = bench.workload.crowd_threads, bench.workload.crowd_steps
    rounds = max(2, bench.workload.rounds - 2)
    results = await bench.measure_rounds(Job("chain", steps), threads=threads, rounds=rounds)
    job = f"{threads} threads x {steps} steps at once"
    return CaseResult(
        [
            try_check_bound(
                f"steps per second, {job}, against the floor",
                # The ratio of rates is the inverse ratio of the times per step.
                lambda: samples_of("floor", results, seconds_per_step).over(
                    samples_of("ours", results, seconds_per_step)
                ),
                "at least",
                0.9,
                unit=" x",
            )
        ],
        [
            compare_peers(
                f"Steps per second: {job}", "steps/s", results, lambda result: 1 / seconds_per_step(result), "{:.0f}"
            )
        ],
    )
