"""The case ``async``: many no-op steps with ``durability="async"``, where a crash may lose the last second of work."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.bench import Bench, seconds_per_step
from benchmarks.jobs import Job
from benchmarks.measurements import CaseResult, compare_peers, samples_of, try_check_bound

SYNC_ONLY = ("floor", "community")
"""Peers that have no such durability. Here they would only repeat what the case ``steps`` shows, and take long."""


async def run(bench: Bench) -> CaseResult:
    """Measures wall time and history events per step."""
    steps = bench.workload.loop_steps
    peers = {name: peer for name, peer in bench.peers.items() if name not in SYNC_ONLY}
    rounds = max(2, bench.workload.rounds - 2)
    results = await replace(bench, peers=peers).measure_rounds(Job("loop", steps, durability="async"), rounds=rounds)
    job = f"{steps} no-op steps, `async`"
    return CaseResult(
        [
            try_check_bound(
                f"wall time per step, {job}: how much faster than the official plugin",
                lambda: samples_of("official", results, seconds_per_step).over(
                    samples_of("ours", results, seconds_per_step)
                ),
                "at least",
                20,
                unit=" x",
                pattern="{:.1f}",
                headline=f'{steps} no-op steps with `durability="async"`: how much faster than the official plugin',
            ),
            try_check_bound(
                f"wall time per step, {job}, against LangGraph with SqliteSaver",
                lambda: samples_of("ours", results, seconds_per_step).over(
                    samples_of("sqlite", results, seconds_per_step)
                ),
                "at most",
                0.6,
                unit=" x",
            ),
            try_check_bound(
                f"history events per step, {job}",
                lambda: samples_of("ours", results, lambda result: result["events"] / steps),
                "at most",
                0.5,
            ),
        ],
        [
            compare_peers(
                f"Wall time per step: {steps} no-op steps, async",
                "ms",
                results,
                lambda result: 1000 * seconds_per_step(result),
                "{:.2f}",
            )
        ],
    )
