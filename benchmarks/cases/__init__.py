"""The benchmark cases. Each takes samples and compares them with the project's bounds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from benchmarks.bench import Bench
from benchmarks.cases import agent, async_durability, chat, crowd, fan_out, long_chat, memory, merge, reads, steps
from benchmarks.measurements import CaseResult

CASES: dict[str, Callable[[Bench], Awaitable[CaseResult]]] = {
    "steps": steps.run,
    "crowd": crowd.run,
    "async": async_durability.run,
    "chat": chat.run,
    "agent": agent.run,
    "merge": merge.run,
    "fan": fan_out.run,
    "long": long_chat.run,
    "reads": reads.run,
    "memory": memory.run,
}
