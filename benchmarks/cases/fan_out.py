"""The case ``fan``: many no-op nodes side by side in one super-step, against a tenth of them."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.bench import Bench, seconds_per_step
from benchmarks.jobs import Job
from benchmarks.measurements import CaseResult, PeerResults, samples_of, try_check_bound


async def run(bench: Bench) -> CaseResult:
    """Measures whether the time of a super-step grows faster than its number of tasks. stepgraph only."""
    large = bench.workload.fan_nodes
    small = large // 10
    ours = replace(bench, peers={name: peer for name, peer in bench.peers.items() if name == "ours"})
    results: dict[int, dict[str, PeerResults]] = {}
    for nodes in (small, large):
        results[nodes] = await ours.measure_rounds(
            Job("fan", nodes), rounds=bench.workload.rounds, warm_up=nodes == small
        )
    return CaseResult(
        [
            try_check_bound(
                f"wall time per task, {large:,} no-op nodes in one super-step, against {small:,}",
                lambda: samples_of("ours", results[large], seconds_per_step).over(
                    samples_of("ours", results[small], seconds_per_step)
                ),
                "at most",
                1.3,
                unit=" x",
            )
        ]
    )
