"""The case ``merge``: a mapping with a reducer of the graph's own, of which each step writes some keys."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.bench import Bench
from benchmarks.jobs import MERGED_KEYS, WRITTEN_KEYS, Job
from benchmarks.measurements import CaseResult, Samples, samples_of, try_check_bound

SIZES = (100, 1100)
"""Bytes of a value that a step writes, in the two jobs that are compared. The history's other bytes are the same."""


async def run(bench: Bench) -> CaseResult:
    """Measures how many bytes of history a written byte costs: its write, and the change that the reducer made."""
    steps = bench.workload.chat_messages
    ours = replace(bench, peers={name: peer for name, peer in bench.peers.items() if name == "ours"})
    small, large = [
        await ours.measure_rounds(Job("merge", steps, size=size), rounds=1, warm_up=False) for size in SIZES
    ]
    written = WRITTEN_KEYS * (SIZES[1] - SIZES[0]) * steps

    def bytes_per_written_byte() -> float:
        difference = samples_of("ours", large, _bytes).median - samples_of("ours", small, _bytes).median
        return difference / written

    return CaseResult(
        [
            try_check_bound(
                f"history bytes per byte written, a reducer of the graph's own on a mapping of {MERGED_KEYS:,} keys",
                lambda: Samples((bytes_per_written_byte(),)),
                "at most",
                2.0,
                pattern="{:.2f}",
            )
        ],
        [],
    )


def _bytes(result: dict[str, float]) -> float:
    return float(result["bytes"])
