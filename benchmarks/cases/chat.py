"""A chat: what its growing state costs on disk."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.figures import Figure, Outcome, Samples, compared, judge, judged, samples
from benchmarks.hosted import hosted
from benchmarks.jobs import Job
from benchmarks.peers.peer import Unable

MESSAGE = 1024
BOUND = 2.5


async def run(bench: Bench) -> Outcome:
    """Bytes a step. Once each: bytes do not vary."""
    steps = bench.size.chat
    job = Job("chat", steps, size=MESSAGE)
    works = await bench.rounds(job, rounds=1, warm_up=False)
    what = f"a chat of {steps} messages of 1 KB"
    return Outcome(
        [
            await _with_storage(bench, job, what),
            judge(
                f"history bytes a step, {what}, without external storage",
                lambda: samples("ours", works, lambda work: work["bytes"] / steps / 1000),
                "at most",
                BOUND,
                unit=" KB",
            ),
        ],
        [
            compared(f"Bytes stored a step: {what}", "KB", works, lambda work: work["bytes"] / steps / 1000),
        ],
    )


async def _with_storage(bench: Bench, job: Job, what: str) -> Figure:
    """The state that the record has at the end is outside then."""
    measure = f"history bytes a step, {what}"
    try:
        async with hosted("ours_stored", bench.address, bench.folder) as peer:
            work = await peer.call("measure", job=job.to_json())
    except Unable as reason:
        return Figure(measure, str(reason), f"at most {BOUND} KB", None)
    figure = judged(measure, Samples((work["bytes"] / job.steps / 1000,)), "at most", BOUND, unit=" KB")
    return Figure(
        measure,
        f"{figure.value}, and {work['outside'] / job.steps / 1000:.2f} KB in external storage",
        figure.bound,
        figure.met,
    )
