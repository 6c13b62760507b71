"""The case ``memory``: the memory of a worker that has many idle threads in its cache."""

from __future__ import annotations

import asyncio

from benchmarks.bench import Bench
from benchmarks.measurements import CaseResult, Measurement, Samples, check_bound
from benchmarks.peer_process import peer_process
from benchmarks.peers.peer import PeerError

STATE_BYTES = 100_000
MAX_MB = 400
SETTLE_SECONDS = 2
"""How long the worker has to finish its work before its memory is measured."""


async def run(bench: Bench) -> CaseResult:
    """Measures threads whose state a node wrote, and threads whose state was their input. stepgraph only.

    The two differ because the SDK keeps a workflow's input in memory as long as it caches the workflow.
    """
    measurements = []
    for origin in ("written by a node", "given as input"):
        measure = f"memory of a worker with {bench.workload.idle_threads} idle threads of 100 KB, {origin}"
        try:
            samples = await _measure(bench, origin)
        except PeerError as error:
            measurements.append(Measurement(measure, f"failed: {error}", f"at most {MAX_MB} MB", False))
        else:
            measurements.append(check_bound(measure, samples, "at most", MAX_MB, unit=" MB", pattern="{:.0f}"))
    return CaseResult(measurements)


async def _measure(bench: Bench, origin: str) -> Samples:
    """Returns the megabytes of a worker. The client is another process, so that its memory does not count."""
    task_queue = "idle-" + origin.split()[0]
    async with (
        peer_process("ours_reading", bench.address, bench.folder) as worker,
        peer_process("ours_reading", bench.address, bench.folder) as client,
    ):
        before = (await worker.call("start_worker", task_queue=task_queue))["bytes"]
        await client.call(
            "create_idle_threads",
            count=bench.workload.idle_threads,
            size=STATE_BYTES,
            task_queue=task_queue,
            written_by_node=origin == "written by a node",
        )
        await asyncio.sleep(SETTLE_SECONDS)
        after = (await worker.call("memory"))["bytes"]
    bench.log(f"  {origin}: {before / 1e6:.0f} MB before, {after / 1e6:.0f} MB after")
    return Samples((after / 1e6,))
