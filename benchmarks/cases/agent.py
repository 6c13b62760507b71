"""The case ``agent``: LangGraph's chat agent with tools, adopted, and the bytes that its threads take on disk."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.jobs import Job
from benchmarks.measurements import CaseResult, Measurement, Samples, check_bound
from benchmarks.peer_process import peer_process
from benchmarks.peers.peer import PeerError

MAX_KB_PER_STEP = 5.0
TIMEOUT_SECONDS = 900


async def run(bench: Bench) -> CaseResult:
    """Measures the bytes stored per step, and whether the official plugin finishes the same agent."""
    turns = bench.workload.agent_turns
    job = Job("agent", 2 * turns)
    agent = f"a chat agent of {turns} turns with tools, 1 KB a message"
    return CaseResult(
        [
            await _measure(
                bench, job, "ours_agent", f"history bytes per step, {agent}, adopted", bound=MAX_KB_PER_STEP
            ),
            await _measure(bench, job, "official_agent", f"history bytes per step, {agent}, the official plugin"),
        ]
    )


async def _measure(bench: Bench, job: Job, peer_name: str, measure: str, *, bound: float | None = None) -> Measurement:
    try:
        async with peer_process(peer_name, bench.address, bench.folder) as peer:
            result = await peer.call("measure", job=job.to_json(), timeout=TIMEOUT_SECONDS)
    except PeerError as error:
        return Measurement(measure, f"no: {error}", "completes", None if bound is None else False)
    kilobytes = Samples((result["bytes"] / job.steps / 1000,))
    bench.log(
        f"  {job.name}, {peer_name}: {kilobytes.show()} KB and {1000 * result['seconds'] / job.steps:.1f} ms a step"
    )
    if bound is None:
        return Measurement(measure, f"{kilobytes.show()} KB", "for comparison", None)
    return check_bound(measure, kilobytes, "at most", bound, unit=" KB", headline=measure)
