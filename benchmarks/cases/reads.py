"""The case ``reads``: reads of a long thread against a short one, after a restart, and of a closed thread."""

from __future__ import annotations

from typing import Any

from benchmarks.bench import Bench
from benchmarks.measurements import CaseResult, Measurement, Samples, check_bound
from benchmarks.peer_process import peer_process
from benchmarks.peers.peer import PeerError

SHORT_STEPS = 10
TASK_QUEUE = "read"
STATE_BYTES = 100_000
"""The size of the closed thread's state."""


async def run(bench: Bench) -> CaseResult:
    """Measures reads. stepgraph only: no other peer on Temporal has a history to read."""
    try:
        return CaseResult([*await _measure_open_threads(bench), await _measure_closed_thread(bench)])
    except PeerError as error:
        return CaseResult([Measurement("reads of threads", f"failed: {error}", "completes", False)])


async def _measure_open_threads(bench: Bench) -> list[Measurement]:
    long_steps = bench.workload.read_steps
    threads: dict[int, str] = {}
    for steps in (SHORT_STEPS, long_steps):
        async with peer_process("ours_reading", bench.address, bench.folder) as writer:
            threads[steps] = (await writer.call("create_idle_thread", steps=steps, task_queue=TASK_QUEUE))["thread"]
    cold_seconds = []
    for _ in range(bench.workload.rounds):  # a new process for each sample, so that its cache is empty
        async with peer_process("ours_reading", bench.address, bench.folder) as reader:
            result = await reader.call("read_history_cold", thread=threads[long_steps], task_queue=TASK_QUEUE)
            cold_seconds.append(result["seconds"])
    rounds: list[dict[int, Any]] = []
    async with peer_process("ours_reading", bench.address, bench.folder) as reader:
        for _ in range(bench.workload.rounds):
            rounds.append(
                {
                    steps: await reader.call("read_warm", thread=threads[steps], task_queue=TASK_QUEUE)
                    for steps in threads
                }
            )
    ratios: dict[str, Samples] = {}
    for read in ("state", "history"):
        short, long = (Samples(tuple(each[steps][read] for each in rounds)) for steps in (SHORT_STEPS, long_steps))
        bench.log(
            f"  {read}: {1000 * short.median:.1f} ms at {SHORT_STEPS} steps, "
            f"{1000 * long.median:.1f} ms at {long_steps:,} steps"
        )
        ratios[read] = long.over(short)
    threads_compared = f"of an open thread, {long_steps:,} steps against {SHORT_STEPS}"
    return [
        check_bound(f"`get_state` {threads_compared}", ratios["state"], "at most", 1.5, unit=" x"),
        check_bound(
            f"`get_state_history(limit=10)` {threads_compared}",
            ratios["history"],
            "at most",
            1.5,
            unit=" x",
            headline=f"`get_state_history(limit=10)` at {long_steps:,} steps against {SHORT_STEPS} steps",
        ),
        check_bound(
            f"`get_state_history(limit=10)` after a worker's restart, {long_steps:,} steps",
            Samples(tuple(cold_seconds)),
            "at most",
            2,
            unit=" s",
        ),
    ]


async def _measure_closed_thread(bench: Bench) -> Measurement:
    async with peer_process("ours_reading", bench.address, bench.folder) as reader:
        rounds = [await reader.call("read_closed", size=STATE_BYTES) for _ in range(bench.workload.rounds)]
    for each in rounds:
        bench.log(f"  closed: {1000 * each['state']:.1f} ms, describe {1000 * each['describe']:.1f} ms")
    return check_bound(
        "`get_state` of a closed thread, no worker running, against one describe call",
        Samples(tuple(each["state"] / each["describe"] for each in rounds)),
        "at most",
        3,
        unit=" x",
    )
