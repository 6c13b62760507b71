"""The case ``chat``: a state that grows by one message per step, and the bytes that it takes on disk."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.jobs import Job
from benchmarks.measurements import (
    CaseResult,
    Measurement,
    Samples,
    check_bound,
    compare_peers,
    samples_of,
    try_check_bound,
)
from benchmarks.peer_process import peer_process
from benchmarks.peers.peer import PeerError

MESSAGE_BYTES = 1024
MAX_KB_PER_STEP = 2.5


async def run(bench: Bench) -> CaseResult:
    """Measures the bytes stored per step. One round is enough, because the bytes do not vary."""
    steps = bench.workload.chat_messages
    job = Job("chat", steps, size=MESSAGE_BYTES)
    results = await bench.measure_rounds(job, rounds=1, warm_up=False)
    chat = f"a chat of {steps} messages of 1 KB"
    return CaseResult(
        [
            await _measure_with_external_storage(bench, job, chat),
            try_check_bound(
                f"history bytes per step, {chat}, without external storage",
                lambda: samples_of("ours", results, lambda result: result["bytes"] / steps / 1000),
                "at most",
                MAX_KB_PER_STEP,
                unit=" KB",
                headline=f"history bytes of a step, {chat}, of which the whole state is up to {steps} KB",
            ),
        ],
        [
            compare_peers(
                f"Bytes stored per step: {chat}", "KB", results, lambda result: result["bytes"] / steps / 1000
            ),
        ],
    )


async def _measure_with_external_storage(bench: Bench, job: Job, chat: str) -> Measurement:
    """Measures stepgraph with external storage, where the state in the record at the end does not count as history."""
    measure = f"history bytes per step, {chat}, with external storage"
    try:
        async with peer_process("ours_external_storage", bench.address, bench.folder) as peer:
            result = await peer.call("measure", job=job.to_json())
    except PeerError as error:
        return Measurement(measure, str(error), f"at most {MAX_KB_PER_STEP} KB", None)
    samples = Samples((result["bytes"] / job.steps / 1000,))
    history = check_bound(measure, samples, "at most", MAX_KB_PER_STEP, unit=" KB")
    external_kb = result["external_bytes"] / job.steps / 1000
    return Measurement(
        measure, f"{history.value}, and {external_kb:.2f} KB in external storage", history.bound, history.met
    )
