"""The case ``long``: a chat whose state outgrows the largest payload that Temporal accepts."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.cases.chat import MESSAGE_BYTES
from benchmarks.jobs import Job
from benchmarks.measurements import CaseResult, Measurement, Samples, check_bound
from benchmarks.peer_process import peer_process
from benchmarks.peers.peer import PeerError

TIMEOUT_SECONDS = 1200


async def run(bench: Bench) -> CaseResult:
    """Measures whether the chat completes, whether its steps slow down, and what it stores. stepgraph only."""
    steps = bench.workload.long_chat_messages
    chat = f"a chat of {steps:,} messages of 1 KB"
    try:
        async with peer_process("ours_external_storage", bench.address, bench.folder) as peer:
            job = Job("chat", steps, size=MESSAGE_BYTES)
            result = await peer.call("measure", job=job.to_json(), timeout=TIMEOUT_SECONDS)
    except PeerError as error:
        return CaseResult([Measurement(chat, f"no: {error}", "completes", False)])
    slowdown = result["last_seconds_per_step"] / result["first_seconds_per_step"]
    stored_kb = (result["bytes"] + result["external_bytes"]) / steps / 1000
    return CaseResult(
        [
            Measurement(chat, f"yes, in {result['seconds']:.0f} s", "completes", True),
            check_bound(
                f"wall time per step, {chat}: last 500 steps against first 500",
                Samples((slowdown,)),
                "at most",
                1.3,
                unit=" x",
                headline=f"wall time of the last 500 steps of {chat} against its first 500",
            ),
            check_bound(
                f"bytes stored per step, {chat}, in histories and external storage",
                Samples((stored_kb,)),
                "at most",
                20,
                unit=" KB",
            ),
        ]
    )
